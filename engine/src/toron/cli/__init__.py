"""The command ``toron``, a module for each verb.

Exit codes: 0 holds, 1 a property failed, 2 bad input, 3 nondeterminism, 4 inconclusive,
70 a bug of Toron, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence

from toron import ENGINE_VERSION
from toron.cli import branch, explain, explore, replay, run, shrink, trace, verify
from toron.cli.codes import BAD_INPUT, HOLDS, INCONCLUSIVE, INTERNAL, INTERRUPTED
from toron.errors import BadKernel, ToronError, WorkerDied

_VERBS = (run, explore, verify, replay, shrink, branch, trace, explain)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    code: int = HOLDS
    try:
        code = options.verb(options)
        sys.stdout.flush()  # a reader that went away is met here, and not when Python exits
    except BadKernel as error:
        return _complain(options, str(error), BAD_INPUT)
    except WorkerDied as error:
        return _complain(options, str(error), INCONCLUSIVE)
    except KeyboardInterrupt:
        return _complain(options, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return code
    except Exception as error:  # noqa: BLE001  (the door: whatever is left is a bug of ours)
        detail = traceback.format_exc() if os.environ.get("TORON_DEBUG") else ""
        kind = "" if isinstance(error, ToronError) else f"{type(error).__name__}: "
        return _complain(options, f"internal error: {kind}{error}\n{detail}".strip(), INTERNAL)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="toron", description="Deterministic simulation for asyncio."
    )
    parser.add_argument("--version", action="version", version=ENGINE_VERSION)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for verb in _VERBS:
        verb.add(verbs)
    return parser


def _complain(options: argparse.Namespace, message: str, code: int) -> int:
    print(f"toron: {message}", file=sys.stderr)
    if getattr(options, "json", False):
        print(json.dumps({"error": message, "exit": code}))
    return code
