"""A mask hides what it names and nothing else, and is counted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.snapshots.building import NO_MASKS_VERSION, FakeExecution, Recipe

from testops.domain.errors import BadInput
from testops.domain.verdict import Verdict
from testops.snapshots import (
    compare_paths,
    execution_files,
    load_masks,
    masks_version,
    write_bundle,
)
from testops.snapshots.canonical import Json
from testops.snapshots.masks import Mask, MaskAudit, MaskCount, apply_masks, masks_text
from testops.snapshots.pointers import pointer, segments


def masks_file(tmp_path: Path, text: str, name: str = "masks.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def rules(*pointers: str) -> str:
    return json.dumps(
        {"masks": [{"files": "kernels/*", "pointer": item, "reason": "moves"} for item in pointers]}
    )


def masked(where: str, old: Any, new: Any) -> tuple[Any, Any, MaskCount]:
    count = MaskCount(Mask("kernels/*", where, "moves"))
    first, second = apply_masks([count], "kernels/a/1-1.json", (old, new))
    return first, second, count


def test_yaml_and_json_say_the_same_and_reasons_are_no_part_of_the_version(tmp_path: Path) -> None:
    yaml = "masks:\n- files: kernels/*\n  pointer: /outputs/at\n  reason: the hour\n"
    first = load_masks(masks_file(tmp_path, yaml))
    second = load_masks(masks_file(tmp_path, rules("/outputs/at"), "masks.json"))
    assert first.version == second.version
    assert first.rules[0].reason == "the hour"
    assert masks_version(None) == NO_MASKS_VERSION != first.version


def test_a_masked_member_may_change_appear_or_vanish() -> None:
    for old, new in (({"at": 1}, {"at": 2}), ({}, {"at": 2}), ({"at": 1}, {})):
        first, second, count = masked("/outputs/at", {"outputs": old}, {"outputs": new})
        assert first == second == {"outputs": {}}
        assert (count.hits, count.hid) == (1, 1)


def test_a_masked_item_of_a_list_keeps_its_neighbours_in_place() -> None:
    old, new = {"log": [1, 2, 3]}, {"log": [1, 9, 3]}
    first, second, count = masked("/log/1", old, new)
    assert first == second == {"log": [1, "<masked>", 3]}
    assert (count.hits, count.hid) == (1, 1)
    assert old == {"log": [1, 2, 3]}


def test_a_star_is_every_member_and_every_item() -> None:
    old = {"outputs": {"a": [{"at": 1}, {"at": 2}], "b": [{"at": 3}]}}
    new = {"outputs": {"a": [{"at": 1}, {"at": 5}], "b": [{"at": 3}]}}
    first, second, count = masked("/outputs/*/*/at", old, new)
    assert first == second
    assert (count.hits, count.hid) == (3, 1)


def test_escapes_of_a_pointer_are_read_as_rfc_6901_says() -> None:
    document = {"a/b": {"m~n": 1, "": 2}}
    assert masked("/a~1b/m~0n", document, document)[2].hits == 1
    assert masked("/a~1b/", document, document)[2].hits == 1
    assert segments("/~01") == ("~1",)
    assert pointer(("a/b", "m~n", 3)) == "/a~1b/m~0n/3"


def test_masks_that_overlap_are_both_counted() -> None:
    counts = [MaskCount(Mask("*", where, "r")) for where in ("/outputs/a", "/outputs/a/b")]
    old: Json = {"outputs": {"a": {"b": 1}}}
    new: Json = {"outputs": {"a": {"b": 2}}}
    assert apply_masks(counts, "kernels/x", (old, new)) == ({"outputs": {}}, {"outputs": {}})
    assert [count.hid for count in counts] == [1, 1]


def test_an_index_with_a_leading_zero_and_the_end_mark_hit_nothing() -> None:
    for where in ("/log/01", "/log/-", "/log/3", "/log/²"):
        assert masked(where, {"log": [1, 2, 3]}, {"log": [1, 2, 3]})[2].hits == 0


def test_forty_thousand_hits_are_masked_at_once() -> None:
    old = {"outputs": [{"at": n} for n in range(40_000)]}
    new = {"outputs": [{"at": n + 1} for n in range(40_000)]}
    first, second, count = masked("/outputs/*/at", old, new)
    assert first == second
    assert (count.hits, count.hid) == (40_000, 40_000)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a mapping"),
        ("- a", "is not a mapping"),
        ("masks: [", "is not YAML"),
        ("masks: &a [*a]", "is not YAML: found unconstructable recursive node"),
        ("{}", "/masks: is missing"),
        ("masks: {}", "/masks: is not a list"),
        ("rules: []", "/rules: is an unknown field"),
        ("version: 2\nmasks: []", "/version: is 2"),
        ("version: 1\nversion: 1\nmasks: []", "the key 'version' is there twice (line 2"),
        ("masks: [{files: a, pointer: /a}]", "/masks/0/reason: is missing"),
        ("masks: [{files: a, pointer: /a, reason: ' '}]", "/masks/0/reason: is not a text"),
        ("masks: [{files: a, pointer: 3, reason: r}]", "/masks/0/pointer: is not a text"),
        ("masks: [{files: a, pointer: outputs, reason: r}]", "a pointer begins with '/'"),
        ("masks: [{files: a, pointer: /a~2, reason: r}]", "'~' is written as ~0"),
        ("masks: [{files: a, pointer: /a, reason: r, x: 1}]", "/masks/0/x: is an unknown field"),
        ("masks: [{files: a, pointer: /a, reason: 2020-01-01}]", "is not a text"),
        (
            "masks:\n- {files: a, pointer: /a, reason: r}\n- {files: a, pointer: /a, reason: s}",
            "/masks/1: repeats an earlier rule",
        ),
        ("masks: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("a: \x00", "is not YAML"),
    ],
)
def test_a_bad_file_of_masks_is_refused_with_the_pointer_to_what_is_wrong(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = masks_file(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        load_masks(path)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_json_file_of_masks_is_read_as_json_only(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="it is not JSON"):
        load_masks(masks_file(tmp_path, "masks: []", "masks.json"))
    with pytest.raises(BadInput, match="No such file"):
        load_masks(tmp_path / "absent.yaml")


def test_a_mask_hides_a_change_from_the_comparison_and_says_how_often(tmp_path: Path) -> None:
    base = Recipe(outputs={"at": 1, "n": 1}, seeds=(1, 2)).write(tmp_path / "a.tar.gz")
    target = Recipe(outputs={"at": 2, "n": 1}, seeds=(1, 2)).write(tmp_path / "b.tar.gz")
    path = masks_file(tmp_path, rules("/outputs/at"))
    comparison = compare_paths(base, target, masks=path)
    assert comparison.verdict is Verdict.PASS
    assert [(count.hits, count.hid) for count in comparison.audit.counts] == [(2, 2)]
    assert compare_paths(base, target, masks=None).verdict is Verdict.FAIL


def seeded(path: Path, **outcomes: Mapping[str, Any]) -> Path:
    """A bundle with an execution for each of seeds 1 and 2, that says what `outcomes` change."""
    executions = [
        FakeExecution("ledger", seed, 3, {**Recipe().outcome(), **outcomes.get(f"s{seed}", {})})
        for seed in (1, 2)
    ]
    write_bundle(path, Recipe(seeds=(1,)).header(), execution_files(executions))
    return path


AT = [{"outputs": {"at": at, "n": 1}} for at in range(3)]
OTHER_TRACE = {"trace_digest": "b" * 64, "steps": 11}


def test_the_trace_of_a_change_that_a_mask_hides_is_a_note_and_no_delta(tmp_path: Path) -> None:
    base = seeded(tmp_path / "a.tar.gz", s1=AT[1], s2=AT[1])
    target = seeded(tmp_path / "b.tar.gz", s1={**AT[2], **OTHER_TRACE}, s2=AT[1])
    path = masks_file(tmp_path, rules("/outputs/at"))
    comparison = compare_paths(base, target, masks=path)
    note = "the trace was not compared in 1 execution: a mask hides a change there"
    assert (comparison.verdict, list(comparison.notes)) == (Verdict.PASS, [note])
    assert (comparison.delta_count, len(comparison.differing)) == (0, 0)
    assert compare_paths(base, target).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("planted", "field"),
    [
        ({"s1": {**AT[2], **OTHER_TRACE}, "s2": {**AT[1], **OTHER_TRACE}}, "/trace_digest"),
        ({"s1": {**AT[2], **OTHER_TRACE, "virtual_ns": 2_000}, "s2": AT[1]}, "/virtual_ns"),
        ({"s1": {**AT[2], "verdict": "fail"}, "s2": AT[1]}, "/verdict"),
    ],
    ids=["a trace beside it", "its virtual time", "its verdict"],
)
def test_a_hidden_change_excuses_nothing_but_the_trace_of_its_own_execution(
    tmp_path: Path, planted: dict[str, Any], field: str
) -> None:
    base = seeded(tmp_path / "a.tar.gz", s1=AT[1], s2=AT[1])
    target = seeded(tmp_path / "b.tar.gz", **planted)
    comparison = compare_paths(base, target, masks=masks_file(tmp_path, rules("/outputs/at")))
    assert comparison.verdict is Verdict.FAIL
    assert [delta.field for delta in comparison.deltas] == [field]


def test_masked_steps_excuse_no_other_trace(tmp_path: Path) -> None:
    base = seeded(tmp_path / "a.tar.gz")
    target = seeded(tmp_path / "b.tar.gz", s1=OTHER_TRACE)
    comparison = compare_paths(base, target, masks=masks_file(tmp_path, rules("/steps")))
    assert [delta.field for delta in comparison.deltas] == ["/trace_digest"]


def test_a_mask_that_hits_nothing_or_everything_is_a_warning(tmp_path: Path) -> None:
    base = Recipe().write(tmp_path / "a.tar.gz")
    for where, kind in (("/outputs/absent", "mask_unused"), ("/outputs", "mask_broad")):
        path = masks_file(tmp_path, rules(where))
        comparison = compare_paths(base, base, masks=path)
        assert comparison.verdict is Verdict.WARN
        assert [finding["kind"] for finding in comparison.findings] == [kind]
        assert where in comparison.reason


def test_masking_every_field_is_survived_and_reported(tmp_path: Path) -> None:
    base = Recipe().write(tmp_path / "a.tar.gz")
    target = Recipe(outputs={}, verdict="fail").write(tmp_path / "b.tar.gz")
    comparison = compare_paths(base, target, masks=masks_file(tmp_path, rules("/*")))
    assert comparison.verdict is Verdict.WARN
    assert comparison.findings[0]["kind"] == "mask_broad"


def test_a_delta_outranks_an_unused_mask(tmp_path: Path) -> None:
    base = Recipe().write(tmp_path / "a.tar.gz")
    target = Recipe(outputs={}).write(tmp_path / "b.tar.gz")
    comparison = compare_paths(base, target, masks=masks_file(tmp_path, rules("/outputs/absent")))
    assert comparison.verdict is Verdict.FAIL
    assert comparison.findings


def test_the_audit_counts_each_hidden_field_once_and_those_that_changed() -> None:
    counts = [
        MaskCount(Mask("kernels/*", where, "moves")) for where in ("/outputs/*/at", "/outputs/a/at")
    ]
    audit = MaskAudit(counts)
    old: Json = {"outputs": {name: {"at": 1, "n": 1} for name in "abc"}}
    new: Json = {"outputs": {name: {"at": 1 + (name == "b"), "n": 1} for name in "abc"}}
    audit.apply("kernels/a/1-1.json", (old, new))
    audit.apply("traces/a", (old, new))
    assert (audit.hidden, audit.changed) == (3, 1)
    assert [(count.hits, count.hid) for count in counts] == [(3, 1), (1, 0)]
    assert masks_text(audit) == "masks hid 3 fields, 1 of them changed"
    assert not any(count.is_broad for count in counts)


@pytest.mark.parametrize("where", ["/outputs/*", "/outputs/rows/*", "/outputs/rows"])
def test_a_mask_that_leaves_nothing_of_a_section_hides_a_whole_section(where: str) -> None:
    document: Json = {"outputs": {"rows": [1, 2]}, "properties": {"p": {}}}
    count = MaskCount(Mask("kernels/*", where, "moves"))
    MaskAudit([count]).apply("kernels/a/1-1.json", (document, document))
    assert count.is_broad


def test_a_file_that_is_equal_on_both_sides_counts_for_masks_too(tmp_path: Path) -> None:
    base = Recipe(outputs={"at": 1, "n": 1}, seeds=(1, 2)).write(tmp_path / "a.tar.gz")
    path = masks_file(tmp_path, rules("/outputs/at"))
    comparison = compare_paths(base, base, masks=path)
    assert comparison.verdict is Verdict.PASS
    assert (comparison.audit.hidden, comparison.audit.changed) == (2, 0)
