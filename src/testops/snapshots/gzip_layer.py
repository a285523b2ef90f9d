"""The gzip layer: one pinned compressor writes it, so that file bytes are equal too.

Reading uses the standard library, in steps: what a bomb would unpack to is never held.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

import deflate

from testops.snapshots.limits import LIMITS, Limits, size_text
from testops.snapshots.refusal import FOREIGN_FIX, Refusal

LEVEL = 6
# Magic, deflate, no flags, mtime 0, no extra hint, OS 255 (unknown).
HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"
_CHUNK = 64 * 1024
_GZIP_WINDOW = 31  # zlib's way to ask for a gzip header and trailer, both checked


def compress(raw: bytes) -> bytes:
    """`raw` in gzip by libdeflate; the same bytes on every machine (the version is pinned)."""
    packed = bytes(deflate.gzip_compress(raw, LEVEL))
    assert packed.startswith(HEADER), packed[:10].hex()
    return packed


def decompress(file: BinaryIO, *, limits: Limits = LIMITS) -> Iterator[bytes]:
    """The content in chunks. Refuses a bomb before it unpacks, and bytes around the stream."""
    inflater = zlib.decompressobj(wbits=_GZIP_WINDOW)
    packed_bytes = unpacked_bytes = 0
    while not inflater.eof:
        packed = file.read(_CHUNK)
        packed_bytes += len(packed)
        for chunk in _inflate(inflater, packed):
            unpacked_bytes += len(chunk)
            _require_room(packed_bytes, unpacked_bytes, limits)
            yield chunk
        if not packed and not inflater.eof:
            raise Refusal("its gzip stream is cut off")
    if inflater.unused_data or file.read(1):
        raise Refusal("it has more bytes after the end of its gzip stream")


def _inflate(inflater: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    # Bounded steps: a step without a bound would unpack a whole bomb at once. zlib may also hold
    # back output after it took all input, hence the loop until a step gives nothing.
    while not inflater.eof:
        try:
            chunk = inflater.decompress(packed, _CHUNK)
        except zlib.error as error:
            raise Refusal(f"its gzip stream is damaged ({_reason(error)})") from error
        packed = inflater.unconsumed_tail
        if chunk:
            yield chunk
        elif not packed:
            return


def _reason(error: zlib.error) -> str:
    return str(error).rpartition(": ")[2]


def _require_room(packed_bytes: int, unpacked_bytes: int, limits: Limits) -> None:
    if packed_bytes > limits.file_bytes_max or unpacked_bytes > limits.tar_bytes_max:
        raise Refusal(
            f"it unpacks to more than {size_text(limits.tar_bytes_max)}, which no bundle has",
            fix=FOREIGN_FIX,
        )
    if limits.is_bomb(packed_bytes=packed_bytes, unpacked_bytes=unpacked_bytes):
        raise Refusal(
            f"it is a decompression bomb (more than {limits.ratio_max} times its size)",
            fix=FOREIGN_FIX,
        )
