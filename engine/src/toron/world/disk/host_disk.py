"""`host.disk`: the disk of a host as a kernel steers it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from toron.core.choices import ChoiceSource
from toron.core.clock import SECOND_NS, Clock
from toron.core.process import Process
from toron.core.trace import Trace
from toron.world.disk.faults import DiskFault, Rule
from toron.world.disk.lower import Lower
from toron.world.disk.nodes import File
from toron.world.disk.volume import Volume

_THOUSAND = 1_000


class HostDisk:
    """What of a disk can be looked at and broken from outside of its host.

    ``path`` is absolute and may be a shell pattern; None means every file. ``until`` is a virtual
    second of the run.
    """

    def __init__(self, volume: Volume, trace: Trace, on_end_of: Callable[[Process], None]) -> None:
        self.volume = volume
        self._trace = trace
        self._on_end_of = on_end_of

    def __repr__(self) -> str:
        return f"<HostDisk {self.volume.host} {len(self.volume.tree.files())} files>"

    # Looking

    def files(self) -> list[str]:
        """The paths of all files that the host has made."""
        return list(self.volume.tree.files())

    def read(self, path: str) -> bytes:
        """What a program on the host would read; FileNotFoundError as for it."""
        return bytes(self._file(path).content.cached)

    def read_durable(self, path: str) -> bytes:
        """What lies on the platter: what is left when the power is cut now, at the least."""
        return bytes(self._file(path).content.durable)

    def write(self, path: str, payload: bytes) -> None:
        """Put a file there, folders included, as if it had always been there."""
        folder, _, name = path.rpartition("/")
        tree = self.volume.tree
        parent = tree.ensure_folder(folder)
        known = tree.child(parent, name)
        if not isinstance(known, File):
            known = File(tree.number(), 0o644, self.volume.clock.wall_ns())
            parent.place(name, known)
        known.content.place(payload)
        self._trace.add_bytes("disk.write", f"{self.volume.host} {self.volume.name(path)}", payload)

    def _file(self, path: str) -> File:
        node = self.volume.find(path, path).node
        if not isinstance(node, File):
            raise IsADirectoryError(errno.EISDIR, "not a file", path)
        node.content.load()
        return node

    # Breaking

    @property
    def capacity(self) -> int | None:
        """Bytes that fit; None: no limit. Beyond it writes fail with ENOSPC."""
        return self.volume.capacity

    @capacity.setter
    def capacity(self, size: int | None) -> None:
        self._told(f"capacity {size}")
        self.volume.capacity = size

    def fail_reads(
        self,
        path: str | None = None,
        number: int = errno.EIO,
        *,
        count: int | None = None,
        probability: float = 1.0,
        until: float | None = None,
    ) -> Rule:
        """Make reads fail with errno ``number``."""
        return self._arm("read", path, number, count=count, probability=probability, until=until)

    def fail_writes(
        self,
        path: str | None = None,
        number: int = errno.EIO,
        *,
        count: int | None = None,
        probability: float = 1.0,
        until: float | None = None,
    ) -> Rule:
        """Make writes, and changes of names, fail with errno ``number`` (EIO, ENOSPC, EROFS)."""
        return self._arm("write", path, number, count=count, probability=probability, until=until)

    def fail_fsync(
        self,
        path: str | None = None,
        number: int = errno.EIO,
        *,
        count: int | None = None,
        probability: float = 1.0,
        until: float | None = None,
    ) -> Rule:
        """Make fsync fail, and lose some of what it should have written, as Linux does.

        The pages count as clean then: programs still see the bytes, and trying again "succeeds".
        """
        return self._arm("sync", path, number, count=count, probability=probability, until=until)

    def short_reads(
        self, probability: float, path: str | None = None, *, until: float | None = None
    ) -> Rule:
        """Let reads return less than was asked for."""
        return self._arm("short read", path, 0, probability=probability, until=until)

    def short_writes(
        self, probability: float, path: str | None = None, *, until: float | None = None
    ) -> Rule:
        """Let writes take less than they were given."""
        return self._arm("short write", path, 0, probability=probability, until=until)

    def misdirect_writes(
        self,
        path: str | None = None,
        *,
        count: int | None = 1,
        probability: float = 1.0,
        until: float | None = None,
    ) -> Rule:
        """Let writes land at another place, or in another file; it shows after a sync or a cut."""
        return self._arm("misdirect", path, 0, count=count, probability=probability, until=until)

    def bit_rot(self, path: str | None = None, bits: int = 1) -> None:
        """Flip bits on the platter, and in pages that are clean."""
        files = [self._file(path)] if path is not None else list(self.volume.tree.files().values())
        rotten = [file.content for file in files if file.content.durable]
        for _ in range(bits if rotten else 0):
            content = rotten[self.volume.chaos(len(rotten))]
            bit = self.volume.chaos(len(content.durable) * 8)
            content.durable[bit // 8] ^= 1 << bit % 8
            content.drop_clean_pages()
        self._told(f"bit rot {bits} in {'all' if path is None else self.volume.name(path)}")

    def slow(self, latency: float) -> None:
        """Make each read, write and sync take so many more virtual seconds (0: as before)."""
        self._told(f"slow {latency}")
        self.volume.faults.slow_ns = int(latency * SECOND_NS)

    def heal(self, rules: Iterable[Rule] | None = None) -> None:
        """End the given faults, or all; what was lost stays lost."""
        self._told("heal")
        if rules is None:
            self.volume.capacity = None
        self.volume.faults.disarm(rules)

    def _arm(
        self,
        call: str,
        path: str | None,
        number: int,
        *,
        count: int | None = None,
        probability: float = 1.0,
        until: float | None = None,
    ) -> Rule:
        where = "all" if path is None else self.volume.name(path)
        self._told(f"{call} {where} errno {number} count {count} p {probability:g} until {until}")
        return self.volume.faults.arm(
            call, path, number=number, count=count, probability=probability, until=until
        )

    def _told(self, text: str) -> None:
        self._trace.add("disk", f"{self.volume.host} {text}")

    # Power

    def power_cut(self) -> None:
        """Lose the page cache."""
        self.volume.power_cut()

    def close_all_of(self, process: Process) -> None:
        """Close what ``process`` had open; what it wrote stays in the page cache."""
        self._on_end_of(process)
        self.volume.close_all_of(process)


def draw_fault(disk: HostDisk, pick: Callable[[int], int], *, corrupts: bool = False) -> DiskFault:
    """Draw a fault of one disk for a window of time; call its ``start`` and ``stop``.

    ``corrupts`` also allows what only checksums find: bit rot and misdirected writes.
    """
    share = (1 + pick(_THOUSAND)) / _THOUSAND
    host, probability = disk.volume.host, round(0.02 + share * 0.3, 3)
    armed: list[Rule] = []

    def arming(text: str, arm: Callable[[], Rule]) -> DiskFault:
        return DiskFault(
            f"disk {host}: {text}",
            lambda: armed.append(arm()),
            lambda: disk.heal(armed),
        )

    slow_s = round(0.001 + share * 0.2, 4)
    kinds = [
        lambda: arming(
            f"{probability:.1%} of reads fail", lambda: disk.fail_reads(probability=probability)
        ),
        lambda: arming(
            f"{probability:.1%} of writes fail", lambda: disk.fail_writes(probability=probability)
        ),
        lambda: arming("full", lambda: disk.fail_writes(number=errno.ENOSPC)),
        lambda: arming(
            f"{probability:.1%} of fsyncs fail", lambda: disk.fail_fsync(probability=probability)
        ),
        lambda: arming(f"{share:.1%} of reads are short", lambda: disk.short_reads(share)),
        lambda: arming(f"{share:.1%} of writes are short", lambda: disk.short_writes(share)),
        lambda: DiskFault(
            f"disk {host}: slow by {slow_s} s", lambda: disk.slow(slow_s), lambda: disk.slow(0)
        ),
    ]
    if corrupts:
        kinds += [
            lambda: DiskFault(f"disk {host}: bit rot", disk.bit_rot, _nothing),
            lambda: arming("a write goes astray", disk.misdirect_writes),
        ]
    return kinds[pick(len(kinds))]()


def _nothing() -> None:
    return None


def _ignore(_process: Process) -> None:
    return None


class SocketFiles:
    """Where the network keeps the names of unix sockets: on the disks of their hosts."""

    def __init__(self, disks: Disks) -> None:
        self._disks = disks

    def make(self, host: str, path: str) -> None:
        """See `Volume.make_socket`."""
        self._disks.of(host).volume.make_socket(path)

    def is_there(self, host: str, path: str) -> bool:
        """See `Volume.has_socket`."""
        return self._disks.of(host).volume.has_socket(path)


class Disks:
    """The disks of one run; a host keeps its disk over crashes."""

    def __init__(
        self,
        *,
        clock: Clock,
        choices: ChoiceSource,
        trace: Trace,
        name_of: Callable[[str], str],
    ) -> None:
        self._clock = clock
        self._choices = choices
        self._trace = trace
        self.name_of = name_of
        self._disks: dict[str, HostDisk] = {}
        self.lower = Lower([], name_of)
        """What of the real machine may be read; set when the run begins."""
        self.folders: list[str] = []
        self.entropy: Callable[[int], bytes] = bytes
        self.on_end_of: Callable[[Process], None] = _ignore
        """Told of a process whose open files are gone, so that its descriptors go too."""

    def of(self, host: str) -> HostDisk:
        """The disk of a host, made at its first use."""
        known = self._disks.get(host)
        if known is None:
            volume = Volume(
                host,
                clock=self._clock,
                choices=self._choices,
                trace=self._trace,
                lower=self.lower,
                folders=self.folders,
                name_of=self.name_of,
                entropy=self.entropy,
            )
            known = self._disks[host] = HostDisk(volume, self._trace, self.on_end_of)
        return known
