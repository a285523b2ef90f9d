"""`snapshots/golden/review.yaml`: how many people approve, who may, and how deterministic it is.

    version: 1
    approvals: 2                 # different people; default 1
    people: [ada, bob, eve]      # who may approve; default: anyone
    determinism_percent: 99      # for a new engine minor; 98 to 100, default 98
    suites:
      regression_core: {approvals: 1}   # what differs for one suite

It stands beside the baselines that it guards, so that a change of it is reviewed like one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.review import person_key, same_person
from testops.snapshots.documents import load_document
from testops.snapshots.limits import MIB
from testops.snapshots.pointers import Place, pointer

FILE = "review.yaml"
DETERMINISM_PERCENT_MIN = 98.0
_APPROVALS_MAX = 20
_PEOPLE_MAX = 1000
_FIX = "write {version: 1, approvals: N, people: [NAME, ...], suites: {NAME: {approvals: N}}}"
_OWN = ("approvals", "people", "determinism_percent")


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """What approving one suite takes; `people` is None where anyone may."""

    approvals: int = 1
    people: tuple[str, ...] | None = None
    determinism_percent: float = DETERMINISM_PERCENT_MIN

    def allows(self, who: str) -> bool:
        """Whether `who` may decide."""
        return self.people is None or any(same_person(who, one) for one in self.people)

    def require_person(self, who: str, suite: str) -> None:
        """BadInput when `who` may not decide about `suite`."""
        if not self.allows(who):
            raise BadInput(
                f"{who} may not decide about baselines of suite {suite}",
                where="--who",
                fix=f"ask one of {', '.join((self.people or ())[:10])}, or add the name to {FILE}",
            )

    def others(self, done: Sequence[str]) -> str:
        """Who could approve yet, in words."""
        if self.people is None:
            return "another person"
        left = [one for one in self.people if not any(same_person(one, who) for who in done)]
        return f"one of {', '.join(left[:10])}" if len(left) > 1 else "".join(left)


def rules_for(golden: Path, suite: str) -> ReviewRules:
    """The rules of `suite` by the file in `golden`; without a file, one approval by anyone."""
    path = golden / FILE
    if not path.exists():
        return ReviewRules()
    document = load_document(path, bytes_max=MIB, noun="review rules", fix=_FIX)
    if not isinstance(document, dict):
        raise BadInput("is not a mapping", where=str(path), fix=_FIX)
    _require_known(path, (), document, ("version", "suites", *_OWN))
    if document.get("version") != 1 or document.get("version") is True:
        raise _bad(path, ("version",), f"is {document.get('version')!r}, and only 1 is known")
    general = _rules(path, (), document, ReviewRules())
    suites = document.get("suites", {})
    if not isinstance(suites, dict):
        raise _bad(path, ("suites",), "is not a mapping of suite names")
    # All of them, not only the one that is asked for: a slip for another suite is found today.
    read = {name: _suite_rules(path, name, own, general) for name, own in suites.items()}
    return read.get(suite, general)


def _suite_rules(path: Path, name: Any, own: Any, general: ReviewRules) -> ReviewRules:
    place: Place = ("suites", str(name))
    if not isinstance(name, str) or not isinstance(own, dict):
        raise _bad(path, place, "is not a mapping")
    _require_known(path, place, own, _OWN)
    return _rules(path, place, own, general)


def _require_known(
    path: Path, place: Place, document: Mapping[Any, Any], known: Sequence[str]
) -> None:
    for name in document:
        if name not in known:
            raise _bad(path, (*place, str(name)), "is an unknown field")


def _rules(
    path: Path, place: Place, document: Mapping[str, Any], default: ReviewRules
) -> ReviewRules:
    rules = default
    if "approvals" in document:
        rules = replace(rules, approvals=_approvals(path, place, document["approvals"]))
    if "people" in document:
        rules = replace(rules, people=_people(path, place, document["people"]))
    if "determinism_percent" in document:
        percent = _percent(path, place, document["determinism_percent"])
        rules = replace(rules, determinism_percent=percent)
    if rules.people is not None and len(rules.people) < rules.approvals:
        problem = f"asks for {rules.approvals} approvals, and people names {len(rules.people)}"
        raise _bad(path, (*place, "approvals"), problem)
    return rules


def _approvals(path: Path, place: Place, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _APPROVALS_MAX:
        problem = f"is {value!r}, not a whole number from 1 to {_APPROVALS_MAX}"
        raise _bad(path, (*place, "approvals"), problem)
    return value


def _people(path: Path, place: Place, value: Any) -> tuple[str, ...]:
    at: Place = (*place, "people")
    if not isinstance(value, list) or not 1 <= len(value) <= _PEOPLE_MAX:
        raise _bad(path, at, f"is not a list of 1 to {_PEOPLE_MAX} names")
    seen: dict[str, str] = {}
    for index, name in enumerate(value):
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise _bad(path, (*at, index), "is not a name")
        if (other := seen.get(person_key(name))) is not None:
            raise _bad(path, (*at, index), f"{name!r} is the same person as {other!r}")
        seen[person_key(name)] = name.strip()
    return tuple(seen.values())


def _percent(path: Path, place: Place, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Written so that NaN, which YAML can spell, is refused too.
    if not (is_number and DETERMINISM_PERCENT_MIN <= value <= 100):
        problem = f"is {value!r}, not a number from {DETERMINISM_PERCENT_MIN:g} to 100"
        raise _bad(path, (*place, "determinism_percent"), problem)
    return float(value)


def _bad(path: Path, place: Place, problem: str) -> BadInput:
    return BadInput(problem, where=f"{path}: {pointer(place)}", fix=_FIX)
