"""`toron replay`: execute again what a token stands for."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from toron.cli.codes import BY_VERDICT, NONDETERMINISM
from toron.cli.options import add_verb
from toron.cli.printing import print_outcome
from toron.testing import ReplayDiffers, replay


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "replay", _replay, "execute again what a token stands for")
    verb.add_argument("token", metavar="TOKEN")


def _replay(options: argparse.Namespace) -> int:
    try:
        outcome = replay(options.token)
    except ReplayDiffers as differs:
        print_outcome(differs.outcome, as_json=options.json)
        print(f"toron: {differs}", file=sys.stderr)
        if not differs.code_changed:
            return NONDETERMINISM
        outcome = differs.outcome
    else:
        print_outcome(outcome, as_json=options.json)
    return BY_VERDICT[outcome.verdict]
