"""A mask that a review asks for: made as narrow as the deltas allow, and added to the file.

What it may not do is hide everything: a kernel of which nothing is compared any more is a test that
cannot fail. The file of masks belongs to people, so a rule is appended to it, comments stay, and
the result is read back before it replaces anything.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.review import Group
from testops.snapshots.atomic import replace_file
from testops.snapshots.canonical import Json
from testops.snapshots.masks import SECTIONS, Mask, MaskCount, Masks, apply_masks, load_masks
from testops.snapshots.pointers import pointer, segments
from testops.snapshots.review import generalized

_RULES_MAX = 20
# (path in the bundle, kernel file of the baseline, kernel file of the target)
Documents = Sequence[tuple[str, dict[str, Json], dict[str, Json]]]


def masks_for(
    groups: Sequence[Group],
    deltas: Sequence[Mapping[str, Any]],
    documents: Documents,
    *,
    why: str,
    who: str,
) -> tuple[Mask, ...]:
    """The rules that hide the deltas of `groups` and as little else as a pointer can.

    An index of a list becomes `*`; a name that consists of digits stays what it is.
    """
    by_path = {path: (old, new) for path, old, new in documents}
    wanted = {(group.kernel, group.field) for group in groups}
    found: dict[tuple[str, str], Mask] = {}
    for delta in deltas:
        if (delta["kernel"], generalized(delta["field"])) not in wanted:
            continue
        path = f"kernels/{delta['kernel']}/{delta['sim_seed']}-{delta['chaos_seed']}.json"
        old, new = by_path[path]
        place = narrowest(new if delta["has_new"] else old, delta["field"])
        files = f"kernels/{delta['kernel']}/*"
        found.setdefault((files, place), Mask(files, place, why, who))
    names = " ".join(sorted({group.name for group in groups}))
    if not found:
        problem = f"{names}: no delta that is reported is in it"
        raise BadInput(problem, fix="write the mask into the file of masks yourself")
    if len(found) > _RULES_MAX:
        problem = f"{names}: {len(found)} names moved, too many for a mask each"
        raise BadInput(problem, fix="write one mask with `*` into the file of masks yourself")
    return tuple(found.values())


def narrowest(document: Json, place: str) -> str:
    """The pointer `place` with `*` exactly where `document` has a list."""
    parts: list[str] = []
    value: Json = document
    for part in segments(place):
        match value:
            case list() if part.isascii() and part.isdigit():
                parts.append("*")
                value = value[int(part)] if int(part) < len(value) else None
            case dict():
                parts.append(part)
                value = value.get(part)
            case _:
                parts.append(part)
    return pointer(parts)


def require_something_left(rules: Sequence[Mask], all_masks: Masks, documents: Documents) -> None:
    """Refuse `rules` when under `all_masks` a section of a kernel has nothing left to compare."""
    for rule in rules:
        if len(rule.segments) == 1 and rule.segments[0] in SECTIONS:
            raise _hides(rule, f"the whole section {rule.pointer}")
    counts = [MaskCount(rule) for rule in all_masks.rules]
    for path, old, new in documents:
        masked = apply_masks(counts, path, (dict(old), dict(new)))
        for name in SECTIONS:
            before = _content(old, name) or _content(new, name)
            if before and not any(_content(one, name) for one in masked):
                ours = [rule for rule in rules if rule.segments[0] == name]
                if ours:
                    raise _hides(ours[0], f"everything that {path} has in /{name}")


def _content(document: Json, name: str) -> bool:
    """Whether a section has anything to compare; items of a list that are masked are nothing."""
    section = document.get(name) if isinstance(document, dict) else None
    if isinstance(section, dict | list):
        return bool(section)
    return section is not None


def _hides(rule: Mask, what: str) -> BadInput:
    return BadInput(
        f"the mask {rule.files} {rule.pointer} would hide {what}",
        where="--field",
        fix="name the fields that move, or record them under a name of their own",
    )


def append_masks(path: Path, rules: Iterable[Mask]) -> Masks:
    """The masks in `path` after `rules` were added to it; the text that was there stays."""
    former = load_masks(path)
    known = {(rule.files, rule.pointer) for rule in former.rules}
    new = tuple(rule for rule in rules if (rule.files, rule.pointer) not in known)
    if not new:
        return former
    text = path.read_text(encoding="utf-8")
    for spelled in (_appended(text, new, path), _rewritten(text, (*former.rules, *new), path)):
        if spelled is None:
            continue
        # Read back elsewhere first: what does not say exactly this is not put there.
        with tempfile.TemporaryDirectory(prefix="testops-masks-") as folder:
            trial = Path(folder) / path.name
            trial.write_bytes(spelled.encode())
            if not _says(trial, (*former.rules, *new)):
                continue
        replace_file(path, spelled.encode())
        return load_masks(path)
    lines = "  ".join(_item(rule).strip() for rule in new)
    raise BadInput(
        "is written in a way that nothing can be appended to", where=str(path), fix=f"add: {lines}"
    )


def _says(path: Path, rules: Sequence[Mask]) -> bool:
    try:
        return tuple(load_masks(path).rules) == tuple(rules)
    except BadInput:
        return False


def _appended(text: str, rules: Sequence[Mask], path: Path) -> str | None:
    """The rules as further items of the list at the end of a block of YAML."""
    if path.suffix == ".json":
        return None
    lines = text.splitlines()
    item = next((line for line in lines if line.lstrip().startswith("- ")), None)
    indent = "  " if item is None else item[: len(item) - len(item.lstrip())]
    if item is None:
        text = text.replace("masks: []", "masks:", 1)
    return text.rstrip("\n") + "\n" + "".join(_item(rule, indent) for rule in rules)


def _item(rule: Mask, indent: str = "") -> str:
    # JSON strings are YAML strings, with whatever is in them.
    who = f", who: {json.dumps(rule.who, ensure_ascii=False)}" if rule.who else ""
    files, place, reason = (
        json.dumps(part, ensure_ascii=False) for part in (rule.files, rule.pointer, rule.reason)
    )
    return f"{indent}- {{files: {files}, pointer: {place}, reason: {reason}{who}}}\n"


def _rewritten(text: str, rules: Sequence[Mask], path: Path) -> str | None:
    """The whole file anew; only where no comment of a person is lost."""
    if "#" in text and path.suffix != ".json":
        return None
    if path.suffix != ".json":
        return "masks:\n" + "".join(_item(rule, "  ") for rule in rules)
    listed = [
        {"files": rule.files, "pointer": rule.pointer, "reason": rule.reason}
        | ({"who": rule.who} if rule.who else {})
        for rule in rules
    ]
    return json.dumps({"version": 1, "masks": listed}, indent=2, ensure_ascii=False) + "\n"
