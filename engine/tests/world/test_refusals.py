"""A program that reaches for the real world fails its run, even when it swallows the refusal."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import toron
from toron.search.outcome import Execution

ESCAPES = Path(__file__).parents[1] / "programs" / "escapes.py"
NAMES = re.findall(r"^async def (\w+)\(\):", ESCAPES.read_text(), re.MULTILINE)

CALLS = {
    "reads_a_file_of_the_machine": "open('/etc/passwd')",
    "reads_by_os_open": "open('/etc/passwd')",
    "lists_a_folder_of_the_machine": "listing '/proc'",
    "writes_a_file": "open('left_behind.txt', 'w') writes",
    "appends_through_a_relative_name": "open('left_behind.txt', 'a') writes",
    "deletes_a_file": "os.remove('no such file')",
    "writes_a_mapped_file": "can only be read",
    "waits_for_a_lock": "flock() would wait",
    "makes_a_named_pipe": "os.mkfifo('/tmp/pipe')",
    "makes_a_folder": "os.mkdir('left_behind')",
    "starts_a_process": "subprocess.Popen('true')",
    "starts_a_process_with_asyncio": "subprocess.Popen('true')",
    "runs_a_shell_command": "os.system(b'true')",
    "forks": "os.fork()",
    "makes_a_raw_socket": "socket(AF_INET, SOCK_RAW)",
    "makes_a_netlink_socket": "socket(AF_NETLINK, SOCK_DGRAM)",
    "makes_a_sequential_pair": "socketpair(SOCK_SEQPACKET)",
    "sends_a_descriptor": "SCM_RIGHTS",
    "watches_a_real_descriptor": "watching a descriptor of the real world",
    "adopts_a_descriptor": "socket(fileno=...)",
    "adopts_a_descriptor_by_fromfd": "socket.fromfd()",
    "duplicates_a_real_descriptor": "dup()",
    "closes_a_real_descriptor": "socket.close()",
    "polls_a_real_descriptor": "cannot be polled",
    "kills_a_process": "os.kill()",
    "swallows_the_refusal_of_a_file": "open('/etc/passwd')",
    "swallows_the_refusal_of_a_socket": "socket(AF_INET, SOCK_RAW)",
    "swallows_the_refusal_of_a_real_descriptor": "watching a descriptor",
    "escapes_in_a_task_that_nobody_awaits": "open('/etc/passwd')",
    "asks_the_real_resolver": "socket.getaddrinfo('localhost')",
    "uses_the_c_socket": "makes a real socket",
}


def marked_line(kernel: str) -> int:
    lines = ESCAPES.read_text().split("\n")
    start = lines.index(f"async def {kernel}():")
    return next(number for number in range(start, len(lines)) if "# HERE" in lines[number]) + 1


def test_every_program_that_escapes_is_expected_here() -> None:
    assert sorted(CALLS) == sorted(NAMES)


@pytest.mark.parametrize("kernel", NAMES)
def test_an_escape_fails_the_run_and_names_the_call_and_the_line(
    kernel: str, execute_program: Callable[..., Execution]
) -> None:
    outcome = execute_program("escapes", kernel).outcome
    assert outcome.verdict == "fail"
    assert outcome.failure is not None
    assert outcome.failure.kind == "escape"
    assert CALLS[kernel] in outcome.failure.message
    place, _, function = outcome.failure.where.partition(" in ")
    assert place.endswith(f"programs/escapes.py:{marked_line(kernel)}")
    assert function.startswith(kernel)


def test_nothing_was_written_by_programs_that_tried(
    execute_program: Callable[..., Execution],
) -> None:
    for kernel in ("writes_a_file", "appends_through_a_relative_name", "makes_a_folder"):
        execute_program("escapes", kernel)
    assert list(Path.cwd().glob("left_behind*")) == []
    assert list(ESCAPES.parent.glob("left_behind*")) == []


def test_an_escape_has_the_same_digest_in_every_process() -> None:
    reference = toron.KernelRef(ESCAPES, "kills_a_process")  # its argument is a real pid
    assert toron.verify(reference, seeds=[1]).identical == 1


def test_a_program_may_read_the_files_of_its_own_project(
    program: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "table.txt").write_text("42")
    path = program(
        """
        from pathlib import Path

        async def reads():
            return Path(__file__).with_name("table.txt").read_text()
        """
    )
    assert toron.run(toron.KernelRef(path, "reads"), seed=0).outputs == {"result": "42"}


def test_a_link_out_of_the_project_does_not_make_a_file_readable(
    program: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    path = program(
        """
        from pathlib import Path

        async def reads():
            link = Path(__file__).with_name("link")
            assert link.is_symlink()
            return link.read_text()
        """
    )
    failure = toron.run(toron.KernelRef(path, "reads"), seed=0).failure
    assert failure is not None
    assert failure.message.startswith("FileNotFoundError: [Errno 2] No such file or directory")


def test_the_machines_own_tables_do_not_exist_in_a_simulated_world(
    program: Callable[..., Path],
) -> None:
    path = program(
        """
        import os

        async def looks():
            try:
                open("/etc/hosts")
            except FileNotFoundError as error:
                return error.filename
        """
    )
    assert toron.run(toron.KernelRef(path, "looks"), seed=0).outputs == {"result": "/etc/hosts"}


def test_a_signal_handler_is_kept_in_a_table_and_raised_without_a_real_signal() -> None:
    async def kernel() -> list[object]:
        import signal

        seen: list[int] = []
        before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
        signal.raise_signal(signal.SIGTERM)
        return [seen, before == signal.SIG_DFL, signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL]

    assert toron.run(kernel, seed=0).outputs == {"result": [[15], True, True]}
