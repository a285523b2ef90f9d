"""Who is at this keyboard, for records that say who decided."""

import getpass
import shutil
import subprocess

from testops.domain.errors import BadInput


def person() -> str:
    """Who we are: git's user, or the system's."""
    git = shutil.which("git")
    if git is not None:
        done = subprocess.run(
            [git, "config", "user.name"], capture_output=True, text=True, timeout=10, check=False
        )
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise BadInput("nobody knows who you are", where="--who", fix="give your name") from None
