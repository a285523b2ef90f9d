"""One runner's durable queue in a process of its own: it can be killed, and there can be several.

    python -m tests.support.durable_child DATABASE_URL EXECUTOR WHAT

Says on standard output what it takes: `take RUN ATTEMPT`. It holds each for ever when WHAT is
`hold`, and ends each at once otherwise. Lines on standard input are calls: `recover EXECUTOR`,
`adopt`, `ended WORKFLOW`.
"""

import sys
import threading

from testops.storage.database import open_database
from testops.storage.durable import DurableQueue


def main() -> None:
    """Take what is queued, and answer calls until there are no more."""
    url, executor, what = sys.argv[1:4]
    queue = DurableQueue(open_database(url), executor)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def take(run_id: str, attempt: int) -> None:
        say(f"take {run_id} {attempt}")
        if what == "hold":
            threading.Event().wait()

    queue.start(take, lambda *_: None, runs_at_once=4, chunks_at_once=1)
    say("ready")
    for line in sys.stdin:
        call, *arguments = line.split()
        match call:
            case "recover":
                say(f"recovered {queue.recover(arguments)}")
            case "adopt":
                say(f"adopted {queue.adopt_orphans()}")
            case "ended":
                say(f"ended {' '.join(queue.ended(arguments))}")
            case other:
                raise SystemExit(f"there is no call {other}")


main()
