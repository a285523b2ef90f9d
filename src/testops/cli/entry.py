"""Where every command begins and ends: errors become one line and an exit code here, only here."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

import click

from testops.domain.errors import BadInput, OutputNotWritable, StoreUnavailable, TestOpsError
from testops.domain.verdict import ExitCode


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The `testops` command."""

    def command() -> click.Command:
        from testops.cli.commands import testops

        return testops

    _run(command, "testops", arguments)


def run_suite_main(arguments: Sequence[str] | None = None) -> NoReturn:
    """What `sim/run_suite.py` calls."""

    def command() -> click.Command:
        from testops.cli.commands import run_suite

        return run_suite

    _run(command, "run_suite.py", arguments)


def snapshot_compare_main(arguments: Sequence[str] | None = None) -> NoReturn:
    """What `tools/snapshot_compare.py` calls."""

    def command() -> click.Command:
        from testops.cli.snapshot_commands import snapshot_compare

        return snapshot_compare

    _run(command, "snapshot_compare.py", arguments)


# Imported only once an interruption is answered in a line: it takes half a second.
Load = Callable[[], click.Command]


def _run(command: Load, name: str, arguments: Sequence[str] | None) -> NoReturn:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    # What ends a container is as much an interruption as Ctrl-C: both tidy up. SIGINT is named as
    # well, because a shell starts its background jobs with it ignored.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    sys.exit(int(_exit_code(command, name, arguments)))


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _exit_code(command: Load, name: str, arguments: Sequence[str] | None) -> ExitCode:
    try:
        given = None if arguments is None else list(arguments)
        answer = command().main(given, prog_name=name, standalone_mode=False)
        code = ExitCode(answer or 0)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted: a run that had begun is recorded as cancelled; run it again at will")
        return ExitCode.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        # Nothing was asked: its message is the help, and that has lines.
        _say(error.format_message())
        return ExitCode.BAD_INPUT
    except click.ClickException as error:
        _say(_usage(error))
        return ExitCode.BAD_INPUT
    except BadInput as error:
        _say(f"error: {error}")
        return ExitCode.BAD_INPUT
    except (OutputNotWritable, StoreUnavailable) as error:
        _say(f"error: {error}")
        return ExitCode.INCONCLUSIVE
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.INCONCLUSIVE
    except Exception as error:  # noqa: BLE001 - the last place that can still answer with 70
        return _internal(error)
    return code


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f"; see {context.command_path} --help" if context is not None else ""
    return "error: " + " ".join(error.format_message().split()) + hint


def _internal(error: Exception) -> ExitCode:
    """A bug of ours, in three lines; the traceback is for those who ask for it."""
    if os.environ.get("TESTOPS_DEBUG"):
        traceback.print_exc()
    last = traceback.extract_tb(error.__traceback__)[-1]
    kind = "" if isinstance(error, TestOpsError) else f"{type(error).__name__}: "
    _say(f"internal error: {kind}{' '.join(str(error).split())}")
    _say(f"  in {last.name} ({last.filename}:{last.lineno})")
    _say("  this is a bug of testops; TESTOPS_DEBUG=1 shows the traceback to report")
    return ExitCode.INTERNAL


def _say(line: str) -> None:
    try:
        click.echo(line, err=True)
    except OSError:
        # Standard error is closed or full: the exit code still says it.
        return
