"""Whatever a file says, reading it gives values or `BadInput`, and never anything else."""

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from testops.domain.errors import BadInput
from testops.reports.formats.reading import Source
from testops.reports.imports import Format, import_report, kept

FILES = Path(__file__).parents[2] / "fixtures" / "reports"
NAMES = sorted(path.name for path in FILES.iterdir() if path.suffix != ".md")
# What breaks readers: wrong kinds, edges, doubles of what is there, percentiles out of range.
ODD: tuple[Any, ...] = (
    None, True, "", "x", "NaN", -1, 0, 1.5, 1e308, 10**400, [], [None], [[]], {}, {"": 1},
    {"p(150)": 1, "p(95.0)": 2, "50": 3, "-1": 4, "id": "a"}, ["x", 1, {}], "\ud800", "%zz:\x00",
)  # fmt: skip


def read(content: bytes, asked: Format | None) -> None:
    try:
        one = import_report(Source("f", content), root=Path("/dev/null/project"), asked=asked)
    except BadInput as error:
        refused = error
    else:
        json.loads(kept(one, run_id=None))
        return
    assert refused.fix, refused


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a document that something else can be put at."""
    keys: Any = ()
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
    own = [(value, key) for key in keys]
    inner = [place for holder, key in own for place in places(holder[key])]
    return own + inner


def broken_json(text: str, chance: random.Random) -> bytes:
    value = json.loads(text)
    for _ in range(chance.randint(1, 3)):
        holder, key = chance.choice(places(value))
        odd = deepcopy(chance.choice(ODD))
        match chance.randint(0, 3):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[str(odd)] = holder.pop(key)
            case _:
                holder[key] = odd
        if not places(value):
            break
    return json.dumps(value).encode()


def broken_text(text: str, chance: random.Random) -> bytes:
    raw = bytearray(text.encode())
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(raw) or 1)
        match chance.randint(0, 3):
            case 0:
                raw[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del raw[at : at + chance.randint(1, 40)]
            case 2:
                raw[at:at] = chance.choice((b"-", b"9" * 30, b"<a>", b'"', b"\x00", b"NaN", b","))
            case _:
                raw = raw[: at + 1]
    return bytes(raw)


def fuzz(name: str, seed: int) -> None:
    chance = random.Random(f"{name}/{seed}")
    text = (FILES / name).read_text()
    asked = chance.choice([None, None, *Format])
    structured = name.endswith((".json", ".sarif")) and chance.random() < 0.7
    content = (broken_json if structured else broken_text)(text, chance)
    try:
        read(content, asked)
    except Exception as error:
        raise AssertionError(f"{name} broken by seed {seed}, read as {asked}: {error!r}") from error


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_is_read_or_refused(name: str) -> None:
    for seed in range(60):
        fuzz(name, seed)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_is_read_or_refused_at_length(name: str) -> None:
    for seed in range(60, 8000):
        fuzz(name, seed)
