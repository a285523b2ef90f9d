"""A power cut loses what was not synced, often enough to matter, and never anything that was."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toron
from toron.core.choices import SeededChoices
from toron.world.disk.content import SECTOR, Content


def picker(seed: int) -> Any:
    choices = SeededChoices(0, seed)
    return lambda bound: choices.pick("chaos.test", bound)


def survivors(main: Any, seeds: range, look: Any = None) -> list[Any]:
    """Run ``main`` on a host, cut its power once it is done, and look at what the restart finds."""

    async def kernel(world: toron.World) -> Any:
        host = world.host("db")
        first = True

        async def life() -> Any:
            nonlocal first
            if first:
                first = False
                return main()
            return look()

        await host.spawn(life)
        host.crash()
        host.restart()
        await world.sleep(1)
        files = {path: host.disk.read(path).decode("latin-1") for path in host.disk.files()}
        return {path: text for path, text in files.items() if path.startswith("/data")}

    found = []
    for seed in seeds:
        outcome = toron.run(kernel, seed=1, chaos_seed=seed)
        assert outcome.verdict == "pass", outcome.failure
        found.append(outcome.outputs["result"])
    return found


def made(path: str) -> None:
    """Make a folder whose own name lasts."""
    os.mkdir(path)
    sync_folder("/")


def sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def nothing() -> None:
    return None


SEEDS = range(40)


def test_what_is_synced_under_a_synced_name_is_never_lost() -> None:
    def main() -> None:
        made("/data")
        with open("/data/log", "wb") as file:
            file.write(b"kept" * 1000)
            file.flush()
            os.fsync(file.fileno())
        sync_folder("/data")
        with open("/data/log", "ab") as file:
            file.write(b"unsynced" * 500)

    kinds = set()
    for files in survivors(main, SEEDS, nothing):
        text = files["/data/log"]
        assert text.startswith("kept" * 1000)
        rest = text.removeprefix("kept" * 1000)
        kinds.add("none" if not rest else "all" if rest == "unsynced" * 500 else "torn")
    assert kinds == {"none", "all", "torn"}


def test_a_file_whose_folder_was_not_synced_may_vanish_whole() -> None:
    def main() -> None:
        made("/data")
        with open("/data/log", "wb") as file:
            file.write(b"x" * 100)
            file.flush()
            os.fsync(file.fileno())

    found = survivors(main, SEEDS, nothing)
    lost = [files for files in found if "/data/log" not in files]
    assert len(SEEDS) / 5 < len(lost) < len(SEEDS) * 4 / 5
    assert all(files["/data/log"] == "x" * 100 for files in found if files)


def test_a_file_that_was_not_synced_loses_its_bytes_though_its_name_lasts() -> None:
    def main() -> None:
        made("/data")
        Path("/data/log").write_bytes(b"x" * 2000)
        sync_folder("/data")

    found = [files["/data/log"] for files in survivors(main, SEEDS, nothing)]
    assert {"", "x" * 2000} < set(found)
    assert any("\0" in text for text in found)  # the size was there and the bytes were not
    assert all(set(text) <= {"x", "\0"} for text in found)


def test_a_rename_replaces_whole_or_not_at_all() -> None:
    def main() -> None:
        made("/data")
        for name, text in (("now", "old"), ("next", "new")):
            with open(f"/data/{name}", "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            sync_folder("/data")
        os.replace("/data/next", "/data/now")

    found = [tuple(sorted(files.items())) for files in survivors(main, SEEDS, nothing)]
    before, after = (("/data/next", "new"), ("/data/now", "old")), (("/data/now", "new"),)
    assert set(found) == {before, after}


def test_a_rename_lasts_once_its_folder_is_synced() -> None:
    def main() -> None:
        made("/data")
        with open("/data/next", "w") as file:
            file.write("new")
            file.flush()
            os.fsync(file.fileno())
        os.replace("/data/next", "/data/now")
        sync_folder("/data")

    assert survivors(main, SEEDS, nothing) == [{"/data/now": "new"}] * len(SEEDS)


def test_a_log_that_was_rotated_is_still_somewhere() -> None:
    def main() -> None:
        made("/data")
        with open("/data/log", "w") as file:
            file.write("old")
            file.flush()
            os.fsync(file.fileno())
        sync_folder("/data")
        os.rename("/data/log", "/data/log.1")
        Path("/data/log").write_text("new")
        os.link("/data/log.1", "/data/log.2")
        os.unlink("/data/log.1")

    for files in survivors(main, SEEDS, nothing):
        assert "old" in files.values(), files


def test_a_clean_end_of_the_run_of_a_process_keeps_the_page_cache() -> None:
    async def kernel(world: toron.World) -> Any:
        host = world.host("db")

        async def life() -> None:
            file = open("/tmp/f", "wb", buffering=0)
            file.write(b"cached")

        await host.spawn(life)
        host.disk.close_all_of(host.process)
        return [host.disk.read("/tmp/f"), host.disk.read_durable("/tmp/f")]

    outputs = toron.run(kernel, seed=1).outputs
    assert outputs["result"] == [{"$bytes": b"cached".hex()}, {"$bytes": ""}]


def test_the_same_chaos_seed_loses_the_same() -> None:
    def main() -> None:
        made("/data")
        for number in range(10):
            Path(f"/data/{number}").write_bytes(bytes([number]) * 3000)

    first, again = survivors(main, range(5), nothing), survivors(main, range(5), nothing)
    assert first == again
    assert len({str(one) for one in first}) > 1


def test_a_dead_process_writes_nothing_any_more() -> None:
    kept: list[Any] = []

    async def kernel(world: toron.World) -> Any:
        host = world.host("db")

        async def life() -> None:
            file = open("/tmp/f", "w")
            file.write("in a buffer of the program")
            kept.append(file)

        await host.spawn(life)
        host.disk.write("/tmp/f", b"before")
        host.crash()
        try:
            kept[0].flush()
        except OSError:
            return host.disk.read("/tmp/f")
        return "flushed"

    assert toron.run(kernel, seed=1).outputs == {"result": {"$bytes": b"before".hex()}}


changes = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3 * SECTOR), st.binary(min_size=1, max_size=2 * SECTOR)),
        st.integers(0, 4 * SECTOR),
    ),
    max_size=6,
)


@given(synced=changes, unsynced=changes, seed=st.integers(0, 2**32))
def test_every_byte_after_a_cut_is_one_that_it_had_since_the_last_sync(
    synced: list[Any], unsynced: list[Any], seed: int
) -> None:
    content = Content()
    for change in synced:
        _change(content, change)
    content.sync()
    versions = [bytes(content.cached)]
    for change in unsynced:
        _change(content, change)
        versions.append(bytes(content.cached))
    content.power_cut(picker(seed))
    left = bytes(content.cached)
    assert left == content.durable
    assert len(left) <= max(map(len, versions))
    for at, byte in enumerate(left):
        # A byte past an earlier end is a zero until what was written there has arrived.
        assert byte in {version[at] for version in versions if at < len(version)} | {0}, at
    if not any(isinstance(change, int) for change in unsynced):
        touched = {at for offset, data in unsynced for at in range(offset, offset + len(data))}
        for at, byte in enumerate(versions[0]):
            assert at in touched or left[at] == byte, at


def _change(content: Content, change: Any) -> None:
    if isinstance(change, int):
        content.truncate(change)
    else:
        content.write(*change)


@pytest.mark.parametrize("seed", range(50))
def test_overwriting_one_sector_is_atomic(seed: int) -> None:
    content = Content()
    content.place(b"a" * SECTOR * 3)
    content.write(SECTOR, b"b" * SECTOR)
    content.power_cut(picker(seed))
    assert bytes(content.cached[SECTOR : 2 * SECTOR]) in (b"a" * SECTOR, b"b" * SECTOR)


def test_changes_that_are_never_synced_do_not_pile_up() -> None:
    content = Content()
    for number in range(20_000):
        content.write(number % 100, b"x")
    assert len(content.unsynced) < 5_000
