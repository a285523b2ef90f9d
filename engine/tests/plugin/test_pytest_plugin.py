"""The plugin in a pytest of its own: what it collects, says, and leaves alone."""

import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from toron.search.references import KernelRef, Token
from toron.testing import replay, run

pytest_plugins = "pytester"

RACE = """
    import asyncio
    import pytest
    import toron

    @toron.kernel(seeds=6)
    async def ledger(world):
        order = []

        async def book(number):
            await asyncio.sleep(0)
            order.append(number)
            print("booked", number)

        await asyncio.gather(*[book(number) for number in range(3)])
        world.sometimes("a retry", False)
        world.always("in order", order == [0, 1, 2])
"""


def _token(text: str) -> str:
    [token] = set(re.findall(r"--toron-replay (t\d-\S+)", text))
    return str(token)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHAOS_SEED", "SIM_SEED", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)


def test_a_failing_kernel_says_what_where_how_often_and_how_to_replay(
    pytester: pytest.Pytester,
) -> None:
    file = pytester.makepyfile(test_bank=RACE)
    result = pytester.runpytest("--junitxml=report.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = result.stdout.str()
    assert text.count("booked 0") == 1  # printed by the program, in the section of one seed
    line = file.read_text().splitlines().index('    world.always("in order", order == [0, 1, 2])')
    result.stdout.re_match_lines(
        [
            r"property: always 'in order' does not hold \(\d of 6 seeds fail\)",
            r"#1  \d seeds: \d, .*",
            r"    property at 0\.\d+ virtual s \(seed \d+, chaos 0\)",
            rf"    test_bank\.py:{line + 1} in ledger",
            r"  >   world\.always\(\"in order\".*",
            r"    replay: toron replay t\d-\S+",
            r"    or:     pytest test_bank\.py::ledger --toron-replay t\d-\S+",
            r"1 kernel, 6 seeds, 1 failing, .* seeds/s",
            r"never reached: test_bank\.py::ledger  sometimes a retry",
            r"FAILED test_bank\.py::ledger - property: always 'in order' does not hold .*",
        ]
    )
    assert "pytest_plugin.py" not in text
    token = _token(text)
    outcome = replay(token)
    assert outcome.trace_digest.startswith(Token.decode(token).digest)
    noted = ET.parse(pytester.path / "report.xml").iter("property")
    assert ("toron_replay", token) in [(one.get("name"), one.get("value")) for one in noted]

    again = pytester.runpytest("test_bank.py::ledger", "--toron-replay", token)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["property: always 'in order' does not hold"])


def test_a_token_runs_one_kernel_and_tells_a_changed_file_from_nondeterminism(
    pytester: pytest.Pytester,
) -> None:
    file = pytester.makepyfile(test_bank=RACE + "\n    def test_other():\n        assert False\n")
    token = _token(pytester.runpytest("-k", "ledger").stdout.str())
    pytester.runpytest("--toron-replay", token).assert_outcomes(failed=1, deselected=1)

    file.write_text(file.read_text().replace("order == [0, 1, 2]", "True"))
    mended = pytester.runpytest("--toron-replay", token, "-rP")
    mended.assert_outcomes(passed=1, deselected=1)
    mended.stdout.fnmatch_lines(["*the code has changed since; it does not fail any more*"])

    lost = pytester.runpytest("--toron-replay", token, pytester.makepyfile(test_x="").name)
    assert lost.ret == pytest.ExitCode.USAGE_ERROR
    lost.stderr.fnmatch_lines(["*is of test_bank.py::ledger, which is not among the collected*"])


def test_a_failure_that_does_not_come_back_is_called_nondeterministic(
    pytester: pytest.Pytester,
) -> None:
    # Pids stay real, so this one moves with the worker.
    pytester.makepyfile(
        test_leak="""
        import os
        import toron

        STARTS = os.getpid()

        @toron.kernel(seeds=1)
        async def leaks(world):
            world.record("start", STARTS)
            world.unreachable("end")
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "    NONDETERMINISM: the replay behaves differently, and the code has not changed*",
            "    find the line: toron verify test_leak.py::leaks --seeds 0:1 --chaos-seed 0 *",
        ]
    )
    replayed = pytester.runpytest("--toron-replay", _token(result.stdout.str()))
    replayed.assert_outcomes(failed=1)
    replayed.stdout.fnmatch_lines(["NONDETERMINISM: the replay behaves differently*"])


def test_what_is_no_verdict_fails_with_its_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_unclear="""
        import asyncio, os
        import toron

        @toron.kernel(seeds=1, time_limit=5)
        async def sleeps(world):
            await world.sleep(10)

        @toron.kernel(seeds=2)
        async def dies(world):
            os._exit(3)

        @toron.kernel(seeds=1)
        async def waits():
            await asyncio.Event().wait()
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "INCONCLUSIVE, limit: *(0 of 1 seeds fail, 1 inconclusive)",
            "INCONCLUSIVE, crash: *exit code 3*(0 of 2 seeds fail, 2 inconclusive)",
            "#1  2 seeds: 0, 1",
            "deadlock: *waiting: *",
        ]
    )


def test_marks_names_and_selection_mean_what_they_mean_for_any_test(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_marked="""
        import pytest
        import toron

        @pytest.mark.skip(reason="later")
        @toron.kernel
        async def skipped(): ...

        @pytest.mark.xfail(strict=True)
        @pytest.mark.toron(seeds="4:6")
        @toron.kernel
        async def expected():
            assert False

        @toron.kernel
        @pytest.mark.toron(seeds=3, chaos_seed=9)
        async def holds(world): ...

        @toron.kernel
        async def not_a_test(world): ...

        not_a_test.__test__ = False

        def test_plain(): ...
        """
    )
    result = pytester.runpytest("-rA", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["2 kernels, 5 seeds, 0 failing, *"])
    pytester.runpytest("-m", "not toron").assert_outcomes(passed=1, deselected=3)
    listed = pytester.runpytest("--collect-only", "-q", "-k", "holds")
    listed.stdout.fnmatch_lines(["test_marked.py::holds"])


def test_the_command_line_outranks_environment_mark_and_configuration(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        test_order="""
        import pytest
        import toron

        pytestmark = pytest.mark.toron(chaos_seed=2)

        @toron.kernel
        async def plain(): ...

        @toron.kernel(seeds=7)
        async def asking(): ...

        @pytest.mark.toron(seeds="5:6")
        @toron.kernel
        async def marked(): ...
        """
    )
    pytester.makeini("[pytest]\ntoron_seeds = 2\ntoron_chaos_seed = 1\n")

    def settings(*arguments: str) -> list[tuple[object, int]]:
        items, _ = pytester.inline_genitems(*arguments)
        return [(item.seeds, item.settings.chaos_seed) for item in items]

    assert settings() == [(range(2), 2), (range(7), 2), (range(5, 6), 2)]
    monkeypatch.setenv("CHAOS_SEED", "3")
    assert {chaos for _, chaos in settings()} == {3}
    told = settings("--toron-chaos-seed=4", "--toron-seeds=1:3")
    assert told == [(range(1, 3), 4)] * 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--toron-seeds=x", "seeds 'x' must be a whole number from 0 to 2^64-1"),
        ("--toron-seeds=5:5", "seeds '5:5' are none; write A:B with A below B, or how many"),
        ("--toron-chaos-seed=-1", "chaos_seed '-1' must be a whole number from 0 to 2^64-1"),
        ("--toron-jobs=0", "jobs 0 must be at least 1"),
        ("--toron-strategy=luck", "strategy 'luck' is none of portfolio, random*"),
        ("--toron-replay=t1-xx", "--toron-replay: the replay token is damaged; copy it whole"),
    ],
)
def test_a_bad_option_ends_the_session_before_it_begins(
    pytester: pytest.Pytester, option: str, message: str
) -> None:
    result = pytester.runpytest(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: toron: {message.replace('[', '[[]')}"])


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("async def k(tmp_path): ...", "*kernel k takes 'tmp_path'; a kernel takes the world*"),
        (
            "@pytest.mark.parametrize('n', [1])\nasync def k(n): ...",
            "*kernel k takes 'n'; a kernel takes the world*",
        ),
        (
            "@pytest.mark.usefixtures('tmp_path')\nasync def k(world): ...",
            "*kernel k is marked usefixtures; a kernel gets no fixtures*",
        ),
        (
            "@pytest.mark.toron(sedes=1)\nasync def k(world): ...",
            "*kernel k: @pytest.mark.toron takes seeds, *, not *sedes*",
        ),
    ],
)
def test_a_kernel_that_wants_fixtures_is_an_error_of_collection(
    pytester: pytest.Pytester, kernel: str, message: str
) -> None:
    pytester.makepyfile(test_it=f"import pytest, toron\n@toron.kernel\n{kernel}")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize("mode", [pytest.param("strict", marks=pytest.mark.long), "auto"])
def test_anyios_plugin_does_not_run_a_kernel_a_second_time(
    pytester: pytest.Pytester, mode: str
) -> None:
    pytester.makepyfile(
        test_both="""
        import sys
        import pytest
        import toron

        @toron.kernel(seeds=2)
        @pytest.mark.anyio
        async def test_kernel(world):
            assert "pytest_timeout" not in sys.modules, "in pytest's own process"
            await world.sleep(1_000)

        @pytest.mark.anyio
        async def test_real(): ...

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    )
    result = pytester.runpytest("-o", f"anyio_mode={mode}", "-p", "no:asyncio")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 kernel, 2 seeds, 0 failing, *"])


def test_a_kernel_imports_what_pytest_lets_its_file_import(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\npythonpath = lib\n")
    (pytester.path / "lib").mkdir()
    (pytester.path / "lib" / "ours.py").write_text("VALUE = 1\n")
    pytester.path.joinpath("tests").mkdir()
    pytester.makepyfile(
        **{
            "tests/test_it": """
            import toron
            from ours import VALUE

            @toron.kernel(seeds=1)
            async def broken():
                assert VALUE == 2
            """
        }
    )
    before = os.environ.get("PYTHONPATH")
    result = pytester.runpytest()
    assert os.environ.get("PYTHONPATH") == before
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["  >   assert VALUE == 2", "    replay: PYTHONPATH=lib toron replay t*"]
    )


XDIST = ("-p", "xdist.plugin", "-p", "toron.pytest_plugin", "-n", "2")


def test_a_kernel_is_collected_where_it_is_declared_and_under_xdist(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # three processes start sooner
    pytester.makepyfile(
        test_one=RACE,
        test_two="from test_one import ledger\nimport toron\n"
        "@toron.kernel(seeds=3)\nasync def holds(): ...\n",
    )
    result = pytester.runpytest_subprocess(*XDIST)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "    replay: toron replay t*",
            "2 kernels, 9 seeds, 1 failing, *",
            "never reached: *a retry",
            "FAILED test_one.py::ledger - property: *",
        ]
    )


@pytest.mark.long
def test_a_token_of_no_collected_kernel_is_an_error_under_xdist_too(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    file = pytester.makepyfile(test_one=RACE)
    token = run(KernelRef(file, "ledger"), seed=1).token
    result = pytester.runpytest_subprocess(*XDIST, "--toron-replay", token, "test_one.py")
    result.assert_outcomes(failed=1)
    pytester.makepyfile(test_two="def test_it(): ...")
    result = pytester.runpytest_subprocess(*XDIST, "--toron-replay", token, "test_two.py")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["*which is not among the collected kernels*"])


def _has_worker(pid: int) -> bool:
    found = Path(f"/proc/{pid}/task").glob("*/children")  # a child belongs to a thread
    children = [child for file in found for child in file.read_text().split()]
    lines = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    return any(b"toron.search.worker" in line for line in lines)


@pytest.mark.long
def test_ctrl_c_prints_what_was_learned(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_bank="""
        import toron

        @toron.kernel(seeds=100_000)
        async def ledger(world):
            world.unreachable("here")
        """
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "pytest"], stdout=subprocess.PIPE, text=True, cwd=pytester.path
    )
    try:
        for _ in range(400):
            if _has_worker(running.pid):
                break
            time.sleep(0.05)
        time.sleep(2)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == pytest.ExitCode.INTERRUPTED
    assert re.search(r"test_bank.py::ledger: interrupted after \d+ seeds", out)
    assert "replay: toron replay t" in out


def test_a_session_without_kernels_imports_nothing_and_says_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOS_SEED", "of another tool")
    pytester.makepyfile(
        """
        import sys

        def test_it():
            loaded = {name for name in sys.modules if name.split(".")[0] == "toron"}
            assert all(name == "toron" or "pytest_plugin" in name for name in loaded)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:schemathesis")
    result.assert_outcomes(passed=1)
    assert "toron =" not in result.stdout.str()
    assert "seeds/s" not in result.stdout.str()
