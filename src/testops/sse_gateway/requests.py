"""Reads what a viewer asks for: which runs, from where, spelled how.

Where a viewer stands is, first that counts: the `Last-Event-ID` header, `?last_event_id=`, and else
the start of the log (`?from=earliest` says so too). The header is first because a browser repeats
the address it was given, with the header added, when it comes back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from testops.domain.errors import BadInput
from testops.sse_gateway.frames import Encoding
from testops.sse_gateway.places import is_run_id, place_on_one, place_on_several
from testops.sse_gateway.viewers import Track, Viewer

_ONE_RUN = re.compile(r"/v1/test-runs/([^/]+)/events", re.ASCII)
_SEVERAL_RUNS = "/v1/events"
_PARAMETERS = frozenset({"run", "last_event_id", "from", "delivery"})


def is_event_path(path: str) -> bool:
    """Whether the gateway answers `path`."""
    return path == _SEVERAL_RUNS or _ONE_RUN.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Watch:
    """What a viewer asks for: the place it has reached on each run."""

    places: Mapping[str, int]
    encoding: Encoding
    several: bool
    thins: bool

    def viewer(self) -> Viewer:
        tracks = [Track(run_id, place) for run_id, place in self.places.items()]
        return Viewer(tracks, self.encoding, several=self.several, thins=self.thins)


def runs_of(path: str, query: Mapping[str, list[str]], *, runs_max: int) -> tuple[str, ...]:
    """The runs that are asked for; empty when the path names none that could exist."""
    found = _ONE_RUN.fullmatch(path)
    if found is not None:
        return (found[1],) if is_run_id(found[1]) else ()
    named = tuple(dict.fromkeys(query.get("run", [])))
    if not named:
        raise BadInput("no run is named", where="run", fix="give ?run=ID, once for each run")
    if len(named) > runs_max:
        raise BadInput(f"{len(named)} runs are named", where="run", fix=f"name at most {runs_max}")
    for run_id in named:
        if not is_run_id(run_id):
            raise BadInput(
                f"{run_id[:40]!r} is not a run id", where="run", fix="give 16 hexadecimal digits"
            )
    return named


def watch_of(
    path: str,
    query: Mapping[str, list[str]],
    runs: tuple[str, ...],
    *,
    last_event_id: str,
    accept: str,
) -> Watch:
    """What a request for `runs` asks for; `BadInput` names the part that cannot be read."""
    several = path == _SEVERAL_RUNS
    told = last_event_id or _single(query, "last_event_id")
    start = _single(query, "from")
    if start not in ("", "earliest"):
        raise BadInput(f"{start[:40]!r} is no start", where="from", fix="give earliest, or nothing")
    if not told:
        places = dict.fromkeys(runs, 0)
    elif several:
        places = place_on_several(told, runs)
    else:
        places = {runs[0]: place_on_one(told)}
    encoding = _encoding(accept)
    return Watch(places, encoding, several, _thins(_single(query, "delivery"), encoding))


def query_of(query_string: bytes) -> Mapping[str, list[str]]:
    """The query; a name that means nothing is refused, so that a typing error is not ignored."""
    try:
        query = parse_qs(query_string.decode("ascii"), keep_blank_values=True, max_num_fields=200)
    except (UnicodeDecodeError, ValueError) as error:
        raise BadInput("the query cannot be read", where="query", fix=str(error)) from None
    for name in query:
        if name not in _PARAMETERS:
            known = ", ".join(sorted(_PARAMETERS))
            raise BadInput("there is no such parameter", where=name[:40], fix=f"known: {known}")
    return query


def _single(query: Mapping[str, list[str]], name: str) -> str:
    values = query.get(name, [""])
    if len(values) > 1:
        raise BadInput(f"it is given {len(values)} times", where=name, fix="give it once")
    return values[0]


def _thins(delivery: str, encoding: Encoding) -> bool:
    """Whether a slow viewer may be spared progress and log lines: a page yes, a script no."""
    match delivery:
        case "":
            return encoding is Encoding.SSE
        case "full":
            return False
        case "thinned":
            return True
        case _:
            raise BadInput(
                f"{delivery[:40]!r} is no delivery", where="delivery", fix="give full or thinned"
            )


def _encoding(accept: str) -> Encoding:
    """NDJSON for who prefers it by name; SSE for everybody else."""
    weights = {Encoding.SSE: 0.0, Encoding.NDJSON: 0.0}
    for part in accept.lower().split(","):
        name, _, parameters = part.partition(";")
        for encoding in weights:
            if name.strip() == encoding.value.partition(";")[0]:
                weights[encoding] = _weight(parameters)
    preferred = weights[Encoding.NDJSON] > weights[Encoding.SSE]
    return Encoding.NDJSON if preferred else Encoding.SSE


def _weight(parameters: str) -> float:
    found = re.search(r"q\s*=\s*([01](?:\.\d{0,3})?)", parameters, re.ASCII)
    return float(found[1]) if found else 1.0
