"""What one check of `testops doctor` found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `needed` when nothing works without it."""

    what: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True
