"""The tar layer: written so that equal files are equal bytes, read so that nothing surprises.

Own code and not `tarfile`: its header bytes have changed between Python versions (the device fields
of plain files did), and a bundle's identity is the hash of exactly these bytes. A test holds the
writer against the `tarfile` of the day. The reader knows plain files and PAX path records; every
other kind of member is a way to write outside a folder or to hide content, and is refused by name.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from testops.snapshots.limits import Limits, size_text
from testops.snapshots.refusal import FOREIGN_FIX, Refusal

BLOCK = 512
RECORD = 20 * BLOCK  # what tar writes at a time; the archive is padded to a multiple
_NAME_LENGTH_MAX = 100
_PAX_NAME = b"././@PaxHeader"
_PAX_BYTES_MAX = 16 * 1024
# PAX facts that say nothing about content. Everything else in a PAX header is refused: `linkpath`,
# `size` and the sparse keys change what a member is.
_PAX_HARMLESS = frozenset({"mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"})
_OTHER_NUMBERS = {
    "mode": slice(100, 108),
    "uid": slice(108, 116),
    "gid": slice(116, 124),
    "mtime": slice(136, 148),
    "device": slice(329, 337),
    "device minor": slice(337, 345),
}
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a folder entry",
    b"6": "a named pipe",
    b"7": "a contiguous file",
    b"g": "a global PAX header",
    b"K": "a GNU long link",
    b"L": "a GNU long name",
    b"S": "a sparse file",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One plain file of an archive; of its mode only whether it may be executed counts."""

    path: str
    content: bytes
    executable: bool = False


def write_tar(files: Mapping[str, bytes]) -> bytes:
    """The one archive of `files`: sorted by name, no times, no owners, mode 0644."""
    return b"".join(tar_parts(Member(path, content) for path, content in files.items()))


def tar_parts(members: Iterable[Member]) -> list[bytes]:
    """The one archive of `members`, in parts: sorted by name, no times, no owners."""
    parts: list[bytes] = []
    for member in sorted(members, key=lambda one: one.path.encode()):
        parts += _member_parts(member)
    parts.append(_end_after(sum(map(len, parts))))
    return parts


def _member_parts(member: Member) -> Iterator[bytes]:
    path, content = member.path, member.content
    if len(path) > _NAME_LENGTH_MAX or not path.isascii():
        record = _pax_record(path)
        yield from (_header(_PAX_NAME, len(record), kind=b"x", mode=0), _padded(record))
    name = path.encode("ascii", "replace")[:_NAME_LENGTH_MAX]
    yield _header(name, len(content), mode=0o755 if member.executable else 0o644)
    yield _padded(content)


def _end_after(byte_count: int) -> bytes:
    end = bytes(2 * BLOCK)
    return end + bytes(-(byte_count + len(end)) % RECORD)


def hash_of_tar(members: Iterable[Member]) -> str:
    """The sha256 of the one archive of `members`, which come in its order; holds one of them."""
    digest, byte_count, last = hashlib.sha256(), 0, b""
    for member in members:
        assert last < member.path.encode(), f"{member.path} comes too late"
        last = member.path.encode()
        for part in _member_parts(member):
            digest.update(part)
            byte_count += len(part)
    digest.update(_end_after(byte_count))
    return digest.hexdigest()


def _header(name: bytes, size: int, *, kind: bytes = b"0", mode: int = 0o644) -> bytes:
    head = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0" % mode + b"0000000\0" * 2,  # mode, uid, gid
            b"%011o\0" % size,
            b"00000000000\0",  # mtime
            b" " * 8,  # the checksum counts itself as spaces
            kind,
            bytes(100),
            b"ustar\00000",
            bytes(64),  # user and group name
            bytes(16 + 155 + 12),  # device numbers, prefix, padding
        )
    )
    assert len(head) == BLOCK, len(head)
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _pax_record(path: str) -> bytes:
    body = f" path={path}\n".encode()
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode("ascii") + body


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


class ByteStream:
    """Exact reads from chunks that arrive as they like; holds one chunk and what is asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""
        self._position = 0

    def read(self, count: int) -> bytes:
        """`count` bytes, or fewer at the end."""
        parts: list[bytes] = []
        while count > 0 and self._refill():
            part = self._held[self._position : self._position + count]
            self._position += len(part)
            count -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _refill(self) -> bool:
        while self._position >= len(self._held):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._held, self._position = chunk, 0
        return True


def read_members(
    stream: ByteStream, *, limits: Limits, require_path: Callable[[str], None]
) -> Iterator[Member]:
    """The plain files of an archive, one at a time; Refusal for anything else inside.

    The archive is believed only when this has come to its end.
    """
    seen: set[str] = set()
    long_path: str | None = None
    has_pax = False
    while header := _next_header(stream):
        size = _octal(header[124:136], "size")
        path = _path_of(header) if long_path is None else long_path
        if header[156:157] == b"x":
            if has_pax:
                raise Refusal("its tar has two PAX headers in a row")
            has_pax, long_path = True, _pax_path(stream, size)
            continue
        has_pax, long_path = False, None
        _require_plain(path, header)
        require_path(path)
        if path in seen:
            raise Refusal(f"the member {path!r} is there twice", fix=FOREIGN_FIX)
        seen.add(path)
        require_room(path, size, member_count=len(seen), limits=limits)
        executable = _octal(header[100:108], "mode") & 0o100 != 0
        yield Member(path, _content(stream, size, path), executable)
    if has_pax:
        raise Refusal("its tar ends after a PAX header")
    _require_only_padding(stream)


def require_room(path: str, size: int, *, member_count: int, limits: Limits) -> None:
    """Refuse a member that is too large, or one too many."""
    if size > limits.member_bytes_max:
        raise Refusal(
            f"the member {path!r} has {size_text(size)}, more than the "
            f"{size_text(limits.member_bytes_max)} that one may have",
            fix=FOREIGN_FIX,
        )
    if member_count > limits.member_count_max:
        raise Refusal(f"it has more than {limits.member_count_max} members", fix=FOREIGN_FIX)


def _next_header(stream: ByteStream) -> bytes | None:
    header = stream.read(BLOCK)
    if len(header) < BLOCK:
        raise Refusal("its tar is cut off before its end mark")
    if header == bytes(BLOCK):
        if stream.read(BLOCK) != bytes(BLOCK):
            raise Refusal("its tar has half an end mark")
        return None
    stored = _octal(header[148:156], "checksum")
    if stored != sum(header[:148]) + 8 * 0x20 + sum(header[156:]):
        raise Refusal("a tar header in it does not match its checksum")
    if header[257:262] != b"ustar":
        raise Refusal("it holds something that is not a ustar or PAX header")
    for name, field in _OTHER_NUMBERS.items():
        # They count for little; but another reader takes what is no number there for the end of
        # the archive, and would see less in it than we do.
        if header[field].strip(b"\0 "):
            _octal(header[field], name)
    return header


def _require_plain(path: str, header: bytes) -> None:
    kind = header[156:157]
    if kind not in (b"0", b"\0"):
        name = _KINDS.get(kind, f"of the unknown tar type {kind!r}")
        raise Refusal(f"the member {path[:120]!r} is {name}, not a plain file", fix=FOREIGN_FIX)
    if header[157:257].strip(b"\0"):
        raise Refusal(f"the member {path[:120]!r} is a plain file with a link target")


def _octal(field: bytes, name: str) -> int:
    # A leading bit means base 256, which only sizes beyond 8 GiB need.
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    if not digits or digits.strip(b"01234567"):
        raise Refusal(f"a tar header in it has a {name} that is not a number")
    return int(digits, 8)


def _path_of(header: bytes) -> str:
    prefix = header[345:500] if header[257:265] == b"ustar\x0000" else b""
    parts = [part.split(b"\0", 1)[0] for part in (prefix, header[:100])]
    return b"/".join(part for part in parts if part).decode("utf-8", "backslashreplace")


def _pax_path(stream: ByteStream, size: int) -> str | None:
    """The `path` of a PAX header, if it names one."""
    if size > _PAX_BYTES_MAX:
        raise Refusal(f"it has a PAX header of {size_text(size)}", fix=FOREIGN_FIX)
    path: str | None = None
    rest = _content(stream, size, "a PAX header")
    while rest:
        digits, _, _ = rest[:12].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record, rest = rest[:length], rest[length:]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if not (equals and value.endswith(b"\n") and len(record) == length):
            raise Refusal("it has a PAX header that cannot be read")
        name = key.decode("utf-8", "backslashreplace")
        if name == "path" and path is None:
            path = value[:-1].decode("utf-8", "backslashreplace")
        elif name not in _PAX_HARMLESS:
            raise Refusal(f"it has a PAX header with {name[:80]!r}", fix=FOREIGN_FIX)
    return path


def _content(stream: ByteStream, size: int, what: str) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise Refusal(f"its tar is cut off inside {what}")
    padding = -size % BLOCK
    if stream.read(padding) != bytes(padding):
        raise Refusal(f"its tar has bytes hidden behind {what}")
    return content


def _require_only_padding(stream: ByteStream) -> None:
    tail = stream.read(RECORD + 1)
    if len(tail) > RECORD or tail.strip(b"\0"):
        raise Refusal("its tar has more bytes after its end")
