"""Masks: the places in kernel files where a change is expected, each with its reason.

A mask is a hole in the evidence, so it is counted: how often it hit, how often it hid a change, and
one that hits nothing (or hides a whole section) is a finding.
"""

import copy
import fnmatch
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.snapshots.canonical import Json, canonical, form
from testops.snapshots.documents import load_document
from testops.snapshots.limits import MIB
from testops.snapshots.pointers import Place, pointer, segments

MASKED = "<masked>"
_FILE_BYTES_MAX = MIB
_RULE_COUNT_MAX = 1000
_POINTER_LENGTH_MAX = 1000
_FIX = "write masks as a list of {files: GLOB, pointer: /POINTER, reason: TEXT}"
SECTIONS = ("outputs", "properties", "verdict", "failure")


@dataclass(frozen=True, slots=True)
class Mask:
    """One rule: in every file that `files` matches, what stands at `pointer` is not compared."""

    files: str
    pointer: str
    reason: str
    who: str = ""

    @property
    def segments(self) -> tuple[str, ...]:
        return segments(self.pointer)

    def covers(self, path: str) -> bool:
        return fnmatch.fnmatchcase(path, self.files)


@dataclass(frozen=True, slots=True)
class Masks:
    """The rules of one file; `version` is the digest of what they mask, not of their reasons."""

    rules: Sequence[Mask] = ()
    origin: Path | None = None

    @property
    def version(self) -> str:
        spelled: list[Json] = sorted(
            ({"files": rule.files, "pointer": rule.pointer} for rule in self.rules), key=form
        )
        return hashlib.sha256(canonical(spelled)).hexdigest()


NO_MASKS = Masks()


class MaskCount:
    """How often one rule hit, and how many of its hits hid a difference."""

    __slots__ = ("hid", "hits", "is_broad", "rule")

    def __init__(self, rule: Mask) -> None:
        self.rule = rule
        self.hits = 0
        self.hid = 0
        self.is_broad = False

    def to_json(self) -> dict[str, Json]:
        return {
            "files": self.rule.files,
            "pointer": self.rule.pointer,
            "reason": self.rule.reason,
            "hits": self.hits,
            "hid": self.hid,
        }


def load_masks(path: Path) -> Masks:
    """The masks in a YAML or JSON file; BadInput points at what is wrong in it."""
    document = load_document(path, bytes_max=_FILE_BYTES_MAX, noun="masks", fix=_FIX)
    if not isinstance(document, dict):
        raise BadInput("is not a mapping with 'masks'", where=str(path), fix=_FIX)
    for name in document:
        if name not in ("version", "masks"):
            raise _bad(path, (str(name),), "is an unknown field")
    if document.get("version", 1) != 1 or document.get("version") is True:
        raise _bad(path, ("version",), f"is {document['version']!r}, and only 1 is known")
    listed = document.get("masks")
    if not isinstance(listed, list):
        raise _bad(path, ("masks",), "is missing" if listed is None else "is not a list")
    if len(listed) > _RULE_COUNT_MAX:
        raise _bad(path, ("masks",), f"has more than {_RULE_COUNT_MAX} rules")
    rules: list[Mask] = []
    for index, item in enumerate(listed):
        rule = _mask(path, ("masks", index), item)
        if any((rule.files, rule.pointer) == (other.files, other.pointer) for other in rules):
            raise _bad(path, ("masks", index), "repeats an earlier rule")
        rules.append(rule)
    return Masks(rules=tuple(rules), origin=path)


def masks_version(path: Path | None) -> str:
    """What `manifest.json` records: the digest of the masks in `path`, or of no masks."""
    return (load_masks(path) if path is not None else NO_MASKS).version


def _mask(path: Path, place: Place, item: Any) -> Mask:
    if not isinstance(item, dict):
        raise _bad(path, place, "is not a mapping")
    for name in item:
        if name not in ("files", "pointer", "reason", "who"):
            raise _bad(path, (*place, str(name)), "is an unknown field")
    for name in ("files", "pointer", "reason"):
        value = item.get(name)
        if not isinstance(value, str) or not value.strip():
            problem = "is missing" if value is None else "is not a text, or an empty one"
            raise _bad(path, (*place, name), problem)
    who = item.get("who", "")
    if not isinstance(who, str):
        raise _bad(path, (*place, "who"), "is not a text")
    rule = Mask(item["files"], item["pointer"], item["reason"].strip(), who.strip())
    if len(rule.pointer) > _POINTER_LENGTH_MAX:
        raise _bad(path, (*place, "pointer"), f"is longer than {_POINTER_LENGTH_MAX} characters")
    try:
        if not segments(rule.pointer):
            raise _bad(path, (*place, "pointer"), "is empty, which would mask whole files")
    except ValueError as error:
        raise _bad(path, (*place, "pointer"), f"is {rule.pointer!r}, and {error}") from error
    return rule


def _bad(path: Path, place: Place, problem: str) -> BadInput:
    return BadInput(problem, where=f"{path}: {pointer(place)}", fix=_FIX)


class MaskAudit:
    """Applies the rules to one kernel file after another, and keeps count of what that hid.

    `hidden` are the fields that were not compared, each once however many rules hit it; `changed`
    are those of them that differed.
    """

    def __init__(self, counts: Sequence[MaskCount]) -> None:
        self.counts = counts
        self.hidden = 0
        self.changed = 0

    def covers(self, path: str) -> bool:
        """Whether any rule is about the file at `path`."""
        return any(count.rule.covers(path) for count in self.counts)

    def apply(self, path: str, documents: tuple[Json, Json]) -> tuple[Json, Json]:
        """Both sides of one kernel file without what the rules cover.

        A masked member of an object is taken out, so that it may also appear or vanish; a masked
        item of a list becomes `<masked>`, so that its neighbours keep their places.
        """
        found = {
            index: _hits(count.rule.segments, documents)
            for index, count in enumerate(self.counts)
            if count.rule.covers(path)
        }
        places: set[Place] = set().union(*found.values())
        if not places:
            return documents
        differing = {
            place for place in places if len({_spelling_at(one, place) for one in documents}) > 1
        }
        self.hidden += len(places)
        self.changed += len(differing)
        masked = _without(documents, places)
        emptied = {name for name in _DICTIONARIES if _is_emptied(name, documents, masked)}
        for index, hits in found.items():
            count = self.counts[index]
            count.hits += len(hits)
            count.hid += len(hits & differing)
            count.is_broad |= any(_hides_section(place, emptied) for place in hits)
        return masked


def counts_of(masks: Masks) -> list[MaskCount]:
    """A count for each rule, at zero."""
    return [MaskCount(rule) for rule in masks.rules]


def apply_masks(
    counts: Sequence[MaskCount], path: str, documents: tuple[Json, Json]
) -> tuple[Json, Json]:
    """`MaskAudit.apply`, for who needs no total; `counts` is added to."""
    return MaskAudit(counts).apply(path, documents)


_DICTIONARIES = ("outputs", "properties")


def _hides_section(place: Place, emptied: AbstractSet[str]) -> bool:
    return place[0] in emptied or (len(place) == 1 and place[0] in SECTIONS)


def _is_emptied(name: str, documents: tuple[Json, Json], masked: tuple[Json, Json]) -> bool:
    """Whether a section that said something says nothing any more, on either side."""
    before, after = (
        [one[name] for one in pair if isinstance(one, dict) and one.get(name)]
        for pair in (documents, masked)
    )
    return bool(before) and all(_is_hidden(section) for section in after)


def _is_hidden(value: Json) -> bool:
    match value:
        case dict():
            return all(_is_hidden(item) for item in value.values())
        case list():
            return all(_is_hidden(item) for item in value)
        case _:
            return value == MASKED


def _without(documents: tuple[Json, Json], places: AbstractSet[Place]) -> tuple[Json, Json]:
    old, new = copy.deepcopy(documents)
    # The deepest first: a place inside another masked one still exists then.
    for place in sorted(places, key=len, reverse=True):
        _erase(old, place)
        _erase(new, place)
    return old, new


def _hits(wanted: tuple[str, ...], documents: tuple[Json, Json]) -> set[Place]:
    return {place for document in documents for place in _matches(document, wanted)}


def _matches(value: Json, wanted: tuple[str, ...], at: Place = ()) -> Iterator[Place]:
    if not wanted:
        yield at
        return
    for part, item in _children(value, wanted[0]):
        yield from _matches(item, wanted[1:], (*at, part))


def _children(value: Json, segment: str) -> Iterator[tuple[str | int, Json]]:
    match value:
        case dict():
            names = sorted(value) if segment == "*" else [segment] if segment in value else []
            yield from ((name, value[name]) for name in names)
        case list() if segment == "*":
            yield from enumerate(value)
        case list() if segment.isascii() and segment.isdigit() and str(int(segment)) == segment:
            if int(segment) < len(value):
                yield int(segment), value[int(segment)]
        case _:
            return


def _spelling_at(document: Json, place: Place) -> str | None:
    """The value at `place` as text; None where it is absent, which is not the same as null."""
    parent = _parent_of(document, place)
    match parent, place[-1]:
        case dict(), str(name):
            return form(parent[name]) if name in parent else None
        case list(), int(index):
            return form(parent[index]) if index < len(parent) else None
        case _:
            return None


def _erase(document: Json, place: Place) -> None:
    parent = _parent_of(document, place)
    match parent, place[-1]:
        case dict(), str(name):
            parent.pop(name, None)
        case list(), int(index) if index < len(parent):
            parent[index] = MASKED
        case _:
            pass  # the other side has it, this one does not


def _parent_of(document: Json, place: Place) -> Json:
    for part in place[:-1]:
        document = _child(document, part)
    return document


def _child(value: Json, part: str | int) -> Json:
    match value, part:
        case dict(), str():
            return value.get(part)
        case list(), int() if part < len(value):
            return value[part]
        case _:
            return None


def masks_text(audit: MaskAudit) -> str:
    """What the masks hid, in one sentence; empty without masks."""
    if not audit.counts:
        return ""
    fields = "1 field" if audit.hidden == 1 else f"{audit.hidden} fields"
    return f"masks hid {fields}, {audit.changed} of them changed"


def hidden_traces_note(count: int) -> str:
    """What is said where a mask hides a change, which the digest of the trace would say again."""
    executions = "1 execution" if count == 1 else f"{count} executions"
    return f"the trace was not compared in {executions}: a mask hides a change there"


def mask_findings(counts: Sequence[MaskCount]) -> list[Mapping[str, str]]:
    """What a person should know about the masks of a comparison."""
    findings: list[Mapping[str, str]] = [
        {
            "kind": "mask_unused",
            "message": f"the mask {count.rule.files} {count.rule.pointer} hits nothing; remove it "
            f"(its reason was: {count.rule.reason})",
        }
        for count in counts
        if not count.hits
    ]
    findings += [
        {
            "kind": "mask_broad",
            "message": f"the mask {count.rule.files} {count.rule.pointer} hides a whole section; "
            "name the fields that move instead",
        }
        for count in counts
        if count.is_broad
    ]
    return findings
