"""Bundles kept file by file: equal files of any number of bundles are kept once."""
