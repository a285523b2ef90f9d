"""The process of one stage: `python -P -m testops.stage_main EVENTS_DESCRIPTOR < job.json`.

It chooses the adapters and answers; `runner.stage_process` starts it and holds it in bounds.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any, NoReturn

from testops import wiring
from testops.runner.stage_child import ChildTools, answer_job
from testops.telemetry.clock import SystemClock


def main() -> None:
    """Answer the job on standard input, on the descriptor that the first argument names."""
    signal.signal(signal.SIGTERM, _interrupt)
    descriptor = int(sys.argv[1])
    # What the stage starts must not be able to speak for it.
    os.set_inheritable(descriptor, False)
    tools = ChildTools(
        simulator=wiring.ToronSimulator(),
        snapshots=wiring.FileSnapshots(),
        clock=SystemClock(),
        python=sys.executable,
        commands_in=lambda project: wiring.commands_in(project, project.root, None),
        environment=dict(os.environ),
    )
    with os.fdopen(descriptor, "wb") as events:

        def write(body: Mapping[str, Any]) -> None:
            events.write(json.dumps(body, separators=(",", ":")).encode() + b"\n")
            events.flush()

        answer_job(sys.stdin.buffer.read(), tools, write)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
