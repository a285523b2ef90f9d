"""Starts a program that dies with us: `python leash.py PARENT_PID PROGRAM ARGUMENTS…`.

A run killed with SIGKILL cannot tidy up after itself, so on Linux the kernel is asked beforehand to
do it. Standard library only, and nothing of ours: it runs in the user's interpreter too. Elsewhere
than on Linux it only starts the program.
"""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the program of `arguments[1:]`, on a leash held by the process `arguments[0]`."""
    parent, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        # It may have died before the kernel was asked.
        if os.getppid() != parent:
            sys.exit(1)
    try:
        os.execvp(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
