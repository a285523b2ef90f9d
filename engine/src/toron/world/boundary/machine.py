"""What a program is told of the machine, the user and the process it runs on: alike on each.

None of it moves between two executions on one machine, so the double run of `verify` cannot see
it: what is not made equal here would only show on somebody else's computer.
"""

from __future__ import annotations

import locale
import os
import platform
import resource
import sys
from collections.abc import Callable
from typing import Any

from toron.core.clock import SECOND_NS
from toron.world.boundary.aliases import Stand, replace
from toron.world.disk.proc import CORES

MEMORY_PAGES = 2 * 1024 * 1024
"""8 GiB in pages of 4 KiB."""
RELEASE, VERSION = "6.1.0", "#1 SMP Toron"
ENVIRONMENT = {
    "HOME": "/home/sim",
    "LANG": "C.UTF-8",
    "LOGNAME": "sim",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TZ": "UTC",
    "USER": "sim",
}
"""All that `os.environ` holds, in this order; a program sets what else it wants."""
ARGUMENTS = ["toron"]
_NUMBERS = {
    "SC_NPROCESSORS_CONF": CORES,
    "SC_NPROCESSORS_ONLN": CORES,
    "SC_PHYS_PAGES": MEMORY_PAGES,
    "SC_AVPHYS_PAGES": MEMORY_PAGES // 2,
}


def install(host_name: Callable[[], str], used_ns: Callable[[], int]) -> None:
    """Replace it all; ``host_name`` is that of the host that asks, ``used_ns`` what a run took."""
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    locale.setlocale(locale.LC_ALL, "C")
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    sys.argv[:] = ARGUMENTS
    sys.orig_argv[:] = ARGUMENTS
    _install_name(host_name)
    _install_size()
    _install_use(used_ns)


def _install_name(host_name: Callable[[], str]) -> None:
    hardware = os.uname().machine

    def uname() -> os.uname_result:
        return os.uname_result(("Linux", host_name(), RELEASE, VERSION, hardware))

    def described() -> platform.uname_result:
        told = platform.uname_result("Linux", host_name(), RELEASE, VERSION, hardware)
        # Otherwise found out by another process, `uname -p`.
        told.__dict__["processor"] = ""
        return told

    replace(os, "uname", Stand(os.uname, uname))
    replace(platform, "uname", Stand(platform.uname, described))
    libc = ("glibc", "2.36")
    replace(platform, "libc_ver", Stand(platform.libc_ver, lambda *_args, **_options: libc))
    platform._platform_cache.clear()  # type: ignore[attr-defined]


def _install_size() -> None:
    real, known = os.sysconf, dict[str | int, int]()
    for name, number in _NUMBERS.items():
        known[name] = known[os.sysconf_names[name]] = number

    def sysconf(name: str | int, /) -> int:
        return known[name] if name in known else real(name)

    replace(os, "sysconf", Stand(real, sysconf))


def _install_use(used_ns: Callable[[], int]) -> None:
    """What the process has used, as `time.process_time`: the time of the run, and no memory."""
    real = resource.getrusage

    def times() -> os.times_result:
        seconds = used_ns() / SECOND_NS
        return os.times_result((seconds, 0.0, 0.0, 0.0, seconds))

    def getrusage(who: int, /) -> Any:
        used = real(who)  # what is no such thing is refused as before
        return type(used)([used_ns() / SECOND_NS, *([0] * (len(used) - 1))])

    replace(os, "times", Stand(os.times, times))
    replace(resource, "getrusage", Stand(real, getrusage))
