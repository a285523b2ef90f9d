"""The simulated disk of each host: what a program wrote, and what of it a power cut leaves."""
