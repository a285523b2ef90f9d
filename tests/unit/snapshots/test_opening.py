"""A bundle that is opened says what one that is read says, and holds next to nothing."""

import json
import os
import shutil
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.snapshots.building import FakeExecution, Recipe, members_of, repack

from testops.domain.errors import BadInput
from testops.domain.verdict import Verdict
from testops.snapshots import (
    Comparison,
    canonical,
    compare_paths,
    execution_files,
    read_bundle,
    unpack_bundle,
    write_bundle,
)
from testops.snapshots.memory import Memory
from testops.snapshots.opening import open_bundle

MANY = Recipe(seeds=tuple(range(12)))


def unpacked(tmp_path: Path, recipe: Recipe, name: str) -> Path:
    folder = tmp_path / name
    unpack_bundle(recipe.write(tmp_path / f"{name}.tar.gz"), folder)
    return folder


def settle() -> None:
    """Until what was written is older than a tick of the file system's clock."""
    threading.Event().wait(0.07)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every content that is parsed as an execution."""
    seen: list[bytes] = []
    real = canonical.parse

    def parse(raw: bytes) -> Any:
        seen.append(raw)
        return real(raw)

    monkeypatch.setattr("testops.snapshots.executions.parse", parse)
    return seen


@pytest.mark.parametrize("with_memory", [False, True])
def test_what_is_opened_is_what_is_read(tmp_path: Path, memory: Memory, with_memory: bool) -> None:
    packed = MANY.write(tmp_path / "a.tar.gz")
    folder = unpacked(tmp_path, MANY, "b")
    shuffled = repack(tmp_path / "c.tar.gz", list(reversed(members_of(packed))))
    for path in (packed, folder, shuffled):
        for _ in range(2):
            opened = open_bundle(path, memory if with_memory else None)
            whole = read_bundle(path)
            assert (opened.header, opened.identity) == (whole.header, whole.identity)
            assert dict(opened.files) == dict(whole.files)
            assert list(opened.files) == list(whole.files)
            assert dict(opened.digests) == dict(whole.digests)
            assert opened.manifest_sha256 == whole.manifest_sha256


def test_a_large_packed_bundle_is_not_held(tmp_path: Path) -> None:
    noise = [os.urandom(600_000).hex() for _ in range(20)]
    made = [
        FakeExecution("ledger", seed, 3, Recipe(outputs={"noise": noise[seed]}).outcome())
        for seed in range(20)
    ]
    path = tmp_path / "large.tar.gz"
    write_bundle(path, MANY.header(), execution_files(made))
    tracemalloc.start()
    try:
        opened = open_bundle(path)
        for name in opened.files:
            assert len(opened.files[name]) > 1_200_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
    assert opened.identity == read_bundle(path).identity


def test_equal_contents_are_parsed_once_and_then_never_again(
    tmp_path: Path, memory: Memory, parsed: list[bytes]
) -> None:
    base, target = unpacked(tmp_path, MANY, "base"), unpacked(tmp_path, MANY, "target")
    settle()
    assert compare_paths(base, target, memory=memory).compared_count == 12
    assert len(parsed) == 12
    parsed.clear()
    again = compare_paths(base, target, memory=memory)
    assert (again.verdict, again.compared_count, parsed) == (Verdict.PASS, 12, [])
    # The base is known to be made of executions, so a new target is held against it file by file.
    changed = Recipe(seeds=tuple(range(11)), outputs=MANY.outputs)
    more = unpacked(tmp_path, changed, "more")
    assert len(compare_paths(base, more, memory=memory).only_in_base) == 1
    assert parsed == []


def test_without_a_memory_the_answer_is_the_same(tmp_path: Path, memory: Memory) -> None:
    base = unpacked(tmp_path, MANY, "base")
    target = unpacked(tmp_path, Recipe(seeds=MANY.seeds, outputs={"balances": {}}), "target")
    answers = [
        compare_paths(base, target, memory=kept).to_json() for kept in (None, memory, memory)
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["delta_count"] == 24


def compared(base: Path, target: Path, memory: Memory) -> Comparison:
    return compare_paths(base, target, memory=memory)


@pytest.mark.parametrize(
    "edit",
    [
        lambda path: path.write_text(path.read_text().replace("100", "200")),
        lambda path: path.unlink(),
        lambda path: (path.parent / "99-3.json").write_text("{}"),
    ],
)
def test_an_edit_under_a_manifest_that_is_remembered_is_found(
    tmp_path: Path, memory: Memory, edit: Callable[[Path], None]
) -> None:
    base, target = unpacked(tmp_path, MANY, "base"), unpacked(tmp_path, MANY, "target")
    settle()
    assert compared(base, target, memory).verdict is Verdict.PASS
    edit(target / "kernels/ledger/4-3.json")
    with pytest.raises(BadInput, match=r"its sha256 in|is listed in|is not listed in"):
        compared(base, target, memory)


def test_a_content_that_changes_between_two_looks_is_refused(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, MANY, "base")
    opened = open_bundle(folder)
    name = "kernels/ledger/4-3.json"
    (folder / name).write_text("{}")
    with pytest.raises(BadInput, match="no longer what its manifest says"):
        opened.files[name]
    (folder / name).unlink()
    (folder / name).symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="cannot be read again"):
        opened.files[name]


def test_two_bundles_of_the_same_nonsense_are_not_equal_behaviour(
    tmp_path: Path, memory: Memory
) -> None:
    path = tmp_path / "a.tar.gz"
    write_bundle(path, MANY.header(), {"kernels/ledger/1-3.json": b'{"not": "an execution"}'})
    for kept in (None, memory, memory):
        with pytest.raises(BadInput, match="has no 'kernel'"):
            compare_paths(path, path, memory=kept)


def test_a_memory_that_is_damaged_or_cannot_be_kept_changes_no_answer(tmp_path: Path) -> None:
    base, target = unpacked(tmp_path, MANY, "base"), unpacked(tmp_path, MANY, "target")
    memory = Memory(tmp_path / "memory")
    assert compared(base, target, memory).verdict is Verdict.PASS
    known = tmp_path / "memory" / "known.json"
    for damage in (b"", b"{", b'{"format": "testops-known-bundles-1", "bundles": [["a"]]}', b"[]"):
        known.write_bytes(damage)
        assert compared(base, target, memory).verdict is Verdict.PASS
    body = json.loads(known.read_bytes())
    assert len(body["bundles"]) == 1  # both are one content
    shutil.rmtree(tmp_path / "memory")
    (tmp_path / "memory").write_text("in the way")
    assert compared(base, target, memory).verdict is Verdict.PASS


def test_a_memory_of_another_listing_is_not_believed(tmp_path: Path, memory: Memory) -> None:
    folder = unpacked(tmp_path, MANY, "base")
    first = open_bundle(folder, memory)
    known = tmp_path / "memory" / "known.json"
    body = json.loads(known.read_bytes())
    body["bundles"][0][1] |= {"listing": "0" * 64, "identity": "f" * 64}
    known.write_text(json.dumps(body))
    assert open_bundle(folder, memory).identity == first.identity


def test_a_foreign_archive_with_two_members_of_one_name_is_refused(tmp_path: Path) -> None:
    packed = MANY.write(tmp_path / "a.tar.gz")
    members = members_of(packed)
    twice = repack(tmp_path / "b.tar.gz", [*members, members[0]])
    with pytest.raises(BadInput, match="is there twice"):
        open_bundle(twice)
