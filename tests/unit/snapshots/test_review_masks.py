"""A mask hides the deltas that it was asked for, as little else as it can, and never everything."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.snapshots.building import Recipe

from testops.domain.errors import BadInput
from testops.snapshots import compare_paths, load_masks, read_bundle, read_executions
from testops.snapshots.masks import Mask, Masks
from testops.snapshots.review import review_of
from testops.snapshots.review_masks import (
    Documents,
    append_masks,
    masks_for,
    narrowest,
    require_something_left,
)

NEW = Mask("kernels/ledger/*", "/outputs/at", "a clock", "ada")


def situation(tmp_path: Path, old: Any, new: Any) -> tuple[dict[str, Any], Documents]:
    base = Recipe(outputs=old, seeds=(7, 8)).write(tmp_path / "base.tar.gz")
    target = Recipe(outputs=new, seeds=(7, 8)).write(tmp_path / "target.tar.gz")
    before, after = read_executions(read_bundle(base)), read_executions(read_bundle(target))
    documents = [
        (one.path, dict(before[key].document), dict(one.document)) for key, one in after.items()
    ]
    return compare_paths(base, target).to_json(), documents


def wanted(tmp_path: Path, old: Any, new: Any, field: str) -> list[str]:
    comparison, documents = situation(tmp_path, old, new)
    review = review_of(comparison, at="2026-11-25T12:00:00Z", run_id=None, approvals_required=1)
    groups = review.named(kernel="ledger", field=field)
    rules = masks_for(groups, comparison["deltas"], documents, why="a clock", who="ada")
    assert {(rule.files, rule.reason, rule.who) for rule in rules} == {
        ("kernels/ledger/*", "a clock", "ada")
    }
    return [rule.pointer for rule in rules]


def test_items_of_a_list_become_one_mask(tmp_path: Path) -> None:
    old = {"seen": [{"at": 1, "n": 1}, {"at": 2, "n": 2}], "n": 1}
    new = {"seen": [{"at": 5, "n": 1}, {"at": 6, "n": 2}], "n": 1}
    assert wanted(tmp_path, old, new, "/outputs/seen/*/at") == ["/outputs/seen/*/at"]


def test_names_that_consist_of_digits_are_masked_one_by_one(tmp_path: Path) -> None:
    old = {"by_id": {"7": 1, "8": 1, "9": 1}}
    new = {"by_id": {"7": 2, "8": 2, "9": 1}}
    pointers = wanted(tmp_path, old, new, "/outputs/by_id/*")
    assert pointers == ["/outputs/by_id/7", "/outputs/by_id/8"]


def test_too_many_names_are_left_to_a_person(tmp_path: Path) -> None:
    old = {"by_id": {str(number): 1 for number in range(30)}}
    new = {"by_id": {str(number): 2 for number in range(30)}}
    with pytest.raises(BadInput, match=r"30 names moved, too many.*yourself"):
        wanted(tmp_path, old, new, "/outputs/by_id/*")


def test_a_value_that_is_gone_is_looked_for_in_the_baseline(tmp_path: Path) -> None:
    old, new = {"rows": [[1, 2], [3]], "n": 1}, {"rows": [[1], [3]], "n": 1}
    assert wanted(tmp_path, old, new, "/outputs/rows/*/*") == ["/outputs/rows/*/*"]
    assert narrowest({"a": [{"1": 2}]}, "/a/0/1") == "/a/*/1"
    assert narrowest({"a": [{"1": 2}]}, "/a/5/1") == "/a/*/1"


@pytest.mark.parametrize("place", ["/outputs", "/verdict", "/failure", "/properties"])
def test_a_whole_section_is_never_masked(tmp_path: Path, place: str) -> None:
    _, documents = situation(tmp_path, {"n": 1}, {"n": 2})
    rule = replace(NEW, pointer=place)
    with pytest.raises(BadInput, match=f"would hide the whole section {place}; name the fields"):
        require_something_left([rule], Masks((rule,)), documents)


def test_the_last_field_of_a_section_is_never_masked(tmp_path: Path) -> None:
    _, documents = situation(tmp_path, {"at": 1, "n": 1}, {"at": 2, "n": 1})
    require_something_left([NEW], Masks((NEW,)), documents)
    former = replace(NEW, pointer="/outputs/n")
    with pytest.raises(BadInput, match=r"everything that kernels/ledger/7-3.json has in /outputs"):
        require_something_left([NEW], Masks((former, NEW)), documents)


TEXTS = {
    "empty flow": "masks: []\n",
    "block": "# ours\nversion: 1\nmasks:\n- {files: a, pointer: /b, reason: c}  # why\n",
    "indented": "masks:\n    - files: a\n      pointer: /b\n      reason: c\n",
    "no newline at the end": "masks:\n  - {files: a, pointer: /b, reason: c}",
    "flow": "masks: [{files: a, pointer: /b, reason: c}]\n",
    "version last": "masks:\n  - {files: a, pointer: /b, reason: c}\nversion: 1\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_mask_is_added_to_the_file_however_it_is_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / "masks.yaml"
    path.write_text(TEXTS[name])
    before = tuple(load_masks(path).rules)
    rule = replace(NEW, reason='it says "now": # and \\ ünïcode')
    assert tuple(append_masks(path, [rule]).rules) == (*before, rule)
    assert tuple(load_masks(path).rules) == (*before, rule)
    assert ("# ours" in path.read_text()) == ("# ours" in TEXTS[name])
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_json_file_of_masks_stays_json(tmp_path: Path) -> None:
    path = tmp_path / "masks.json"
    path.write_text('{"version": 1, "masks": []}')
    assert tuple(append_masks(path, [NEW]).rules) == (NEW,)


def test_the_same_mask_twice_is_one(tmp_path: Path) -> None:
    path = tmp_path / "masks.yaml"
    path.write_text("masks: []\n")
    append_masks(path, [NEW])
    before = path.read_bytes()
    append_masks(path, [NEW])
    assert path.read_bytes() == before


def test_a_file_whose_comments_would_be_lost_is_left_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "masks.yaml"
    text = "masks: [{files: a, pointer: /b, reason: c}]  # because of the clock\n"
    path.write_text(text)
    with pytest.raises(BadInput, match=r'nothing can be appended to; add: - \{files: "kernels/'):
        append_masks(path, [NEW])
    assert path.read_text() == text
    assert sorted(tmp_path.iterdir()) == [path]
