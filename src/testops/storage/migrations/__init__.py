"""The way from each shape of the database to the next, and back; `storage.migrate` walks it."""
