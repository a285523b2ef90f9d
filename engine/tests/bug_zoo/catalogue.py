"""The bugs of the zoo: real, public ones, each in pinned versions, with its fixed version as twin.

An entry says what to install and what to expect; it says nothing of timing. The programs are in
`programs/` and `network/`, the entries in `of_asyncio.py`, `of_libraries.py` and
`network/entries.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ANY = ("3.11", "3.12", "3.13")
"""Every interpreter that Toron supports; the first one that is present is taken."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a bug: what is installed, and on which interpreter it shows."""

    pins: tuple[str, ...] = ()
    """Exact pins, all that the program imports: they are installed without dependencies."""
    pythons: tuple[str, ...] = ANY
    """Versions of CPython in order of preference; ``3.12`` is any 3.12, ``3.12.1`` just that."""
    kernel: str = ""
    """Another kernel than the bug's: the twin of a bug that no released version has fixed."""


@dataclass(frozen=True, slots=True)
class Bug:
    """A real bug of a published version."""

    id: str
    library: str
    issue: str
    """Where it was reported or fixed: owner/repository#number, or @commit when nobody wrote one."""
    cause: str
    """One paragraph: what goes wrong, and what has to meet for it."""
    program: str
    """The kernel's file, relative to this folder; the same for both sides."""
    buggy: Side
    fixed: Side
    expects: tuple[str, ...]
    """The kinds of failure that are this bug: anything else is another one."""
    symptom: str = ""
    """What the failure's message, property or place contains."""
    kernel: str = "main"

    @property
    def path(self) -> Path:
        """Where the program is."""
        return HERE / self.program

    def is_shown_by(self, failure: dict[str, object]) -> bool:
        """Whether a failure of the buggy version is this bug, and not another."""
        told = f"{failure['message']} {failure['property']} {failure['where']}"
        return failure["kind"] in self.expects and self.symptom in told


def every_bug() -> list[Bug]:
    """All entries, in the order of the catalogue."""
    import of_asyncio
    import of_libraries

    bugs = [*of_asyncio.BUGS, *of_libraries.BUGS]
    if (HERE / "network" / "entries.py").is_file():
        from network import entries

        bugs += entries.BUGS
    return bugs
