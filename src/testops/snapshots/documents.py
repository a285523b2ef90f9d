"""Reads the YAML and JSON that people keep beside baselines, in the one way that it can be read."""

from pathlib import Path
from typing import Any

import yaml

from testops.domain.errors import BadInput
from testops.snapshots.canonical import parse
from testops.snapshots.limits import size_text
from testops.snapshots.refusal import Refusal


def load_document(path: Path, *, bytes_max: int, noun: str, fix: str) -> Any:
    """What the file spells; BadInput with the line and column of what is wrong in it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"cannot be read ({error.strerror or error})",
            where=str(path),
            fix=f"name an existing file of {noun}",
        ) from error
    if len(raw) > bytes_max:
        raise BadInput(f"has {size_text(len(raw))}", where=str(path), fix=f"keep {noun} few")
    try:
        if path.suffix == ".json":
            return parse(raw)
        return yaml.load(raw, _StrictLoader)  # noqa: S506 - a SafeLoader
    except Refusal as refusal:
        raise BadInput(refusal.problem, where=str(path), fix=fix) from refusal
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = f"is not YAML: {error.problem or error.context}{place}"
        raise BadInput(problem, where=str(path), fix=fix) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadInput(f"is not YAML: {error}", where=str(path), fix=fix) from error


class _StrictLoader(yaml.SafeLoader):
    """YAML without repeated keys, of which PyYAML silently takes the last."""


def _mapping_without_repeats(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key.value!r} is there twice", key.start_mark
            )
        seen.add(str(key.value))
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats
)
