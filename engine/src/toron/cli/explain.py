"""`toron explain`: why a run failed, in words."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from toron.cli.codes import BY_VERDICT
from toron.cli.options import add_verb
from toron.search.explain.text import text_of
from toron.testing import explain


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "explain", _explain, "say why a run failed")
    verb.add_argument("token", metavar="TOKEN")
    verb.add_argument(
        "--script", metavar="FILE", help="where to write the script for stock asyncio"
    )
    verb.add_argument(
        "--no-shrink", action="store_true", help="explain the run as it is, with all it did"
    )


def _explain(options: argparse.Namespace) -> int:
    script = None if options.script is None else Path(options.script)
    explanation = explain(options.token, shrink=not options.no_shrink, script=script)
    if options.json:
        print(json.dumps(explanation.to_json()))
    else:
        for line in text_of(explanation):
            print(line)
    return BY_VERDICT[explanation.outcome.verdict]
