"""Small servers that speak a real protocol, for clients that are under test."""
