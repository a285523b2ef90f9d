"""How large a bundle may be. The writer keeps the same limits as the reader.

They are held against memory, because a bundle is read whole: a writer that could exceed them would
leave baselines that nobody can read.
"""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds in bytes, but for counts and the ratio."""

    file_bytes_max: int = 128 * MIB
    tar_bytes_max: int = 256 * MIB
    member_bytes_max: int = 64 * MIB
    member_count_max: int = 50_000
    # Deflate reaches 1032:1 on zeros. Real bundles were seen at up to 60:1; below the floor no
    # ratio is judged, because a few padded tar headers alone compress far better than that.
    ratio_max: int = 200
    ratio_floor_bytes: int = 8 * MIB

    def is_bomb(self, *, packed_bytes: int, unpacked_bytes: int) -> bool:
        return (
            unpacked_bytes > self.ratio_floor_bytes
            and unpacked_bytes > self.ratio_max * packed_bytes
        )


LIMITS = Limits()


def size_text(byte_count: int) -> str:
    """A size as people say it: `12 bytes`, `3.4 MiB`."""
    for unit, size in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", 1024)):
        if byte_count >= size:
            return f"{byte_count / size:.1f} {unit}".replace(".0 ", " ")
    return f"{byte_count} byte" if byte_count == 1 else f"{byte_count} bytes"
