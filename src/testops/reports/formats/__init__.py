"""The files that other tools write and read: a module a format, into and out of our values."""
