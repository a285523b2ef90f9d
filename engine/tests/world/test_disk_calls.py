"""What a program does with files has the same results on a simulated disk as on a real one."""

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.core.values import canonical
from toron.search.outcome import Execution
from toron.search.verify import Question, verify_many

FILES = Path(__file__).parents[1] / "programs" / "files.py"
NAMES = re.findall(r"^async def (\w+)\(\):", FILES.read_text(), re.MULTILINE)


def on_the_real_disk(name: str) -> Any:
    spec = importlib.util.spec_from_file_location("files_on_a_real_disk", FILES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return canonical(asyncio.run(getattr(module, name)()))


@pytest.mark.parametrize("name", NAMES)
def test_a_call_on_files_answers_as_the_real_system(
    name: str, execute_program: Callable[..., Execution]
) -> None:
    outcome = execute_program("files", name).outcome
    assert outcome.verdict == "pass", outcome.failure
    found, real = (
        re.sub(r"tmp\w{8}", "tmpNAME", json.dumps(result))
        for result in (outcome.outputs["result"], on_the_real_disk(name))
    )
    assert json.loads(found) == json.loads(real)


def test_programs_on_files_are_identical_in_two_processes() -> None:
    questions = [Question(toron.KernelRef(FILES, name), 3, 0, "varied") for name in NAMES]
    for one in verify_many(questions):
        assert one.identical, (one.reference.name, one.divergence)


def test_nothing_reaches_the_real_disk(program: Callable[..., Path], tmp_path: Path) -> None:
    path = program(
        """
        import os
        from pathlib import Path

        async def writes():
            for name in ("here.txt", "/tmp/toron-left-behind", str(Path(__file__).with_name("n"))):
                Path(name).write_text("x")
            Path(__file__).write_text("rewritten")
            (Path(__file__).parent / "table.txt").unlink()
            table = Path(__file__).with_name("table.txt")
            return [Path(__file__).read_text(), os.path.exists(table)]
        """
    )
    (tmp_path / "table.txt").write_text("kept")
    source = path.read_text()
    outcome = toron.run(toron.KernelRef(path, "writes"), seed=1)
    assert outcome.outputs == {"result": ["rewritten", False]}, outcome.failure
    assert path.read_text() == source
    assert (tmp_path / "table.txt").read_text() == "kept"
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "program.py",
        "table.txt",
    ]
    assert not Path("/tmp/toron-left-behind").exists()


def test_every_host_has_a_tree_of_its_own_and_reads_the_project() -> None:
    async def kernel(world: toron.World) -> dict[str, Any]:
        found: dict[str, Any] = {}

        async def main(name: str) -> None:
            Path("/tmp/name").write_text(name)
            await world.sleep(1)
            found[name] = [Path("/tmp/name").read_text(), FILES.exists(), Path("/etc").exists()]

        await asyncio.gather(*(world.host(name).spawn(main, name) for name in "ab"))
        found["files"] = world.host("a").disk.files()
        return found

    outcome = toron.run(kernel, seed=1)
    assert outcome.outputs["result"] == {
        "a": ["a", True, True],
        "b": ["b", True, True],
        "files": ["/tmp/name"],
    }, outcome.failure


def test_times_of_files_are_virtual() -> None:
    async def kernel() -> list[float]:
        Path("/tmp/f").write_text("x")
        await asyncio.sleep(100)
        Path("/tmp/f").touch()
        return [Path("/tmp/f").stat().st_mtime, FILES.stat().st_mtime]

    touched, of_the_project = toron.run(kernel, seed=1).outputs["result"]
    assert 1_767_225_700 <= touched < 1_767_225_701
    assert of_the_project == 1_767_225_600


def test_the_order_of_a_listing_depends_on_the_seed_only() -> None:
    async def kernel() -> list[str]:
        import os

        for number in range(20):
            Path(f"/tmp/{number}").touch()
        return os.listdir("/tmp")

    first, again, other = (toron.run(kernel, seed=s).outputs["result"] for s in (1, 1, 2))
    assert first == again != other
    assert sorted(first) == sorted(other)


def test_a_program_may_not_know_where_it_was_checked_out(
    program: Callable[..., Path], tmp_path: Path
) -> None:
    text = """
    from pathlib import Path

    async def writes():
        Path("data").mkdir()
        Path("data", "f").write_text("x")
        Path(__file__).with_name("out").write_text("y")
    """
    digests = []
    for folder in ("one", "another-longer-name"):
        (tmp_path / folder).mkdir()
        path = program(text, f"{folder}/program.py")
        (tmp_path / folder / "pyproject.toml").touch()
        command = [sys.executable, "-m", "toron", "run", "program.py", "--seed", "1", "--json"]
        done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=True)
        digests.append(json.loads(done.stdout)["trace_digest"])
    assert digests[0] == digests[1]
