"""`python -m testops` is the `testops` command."""

from testops.cli import main

if __name__ == "__main__":
    main()
