"""Reads which functions a kernel file defines, without running a line of it.

Planning happens where projects' code must not run (the API serves many of them). Whether a function
really is a kernel is found out by the runner, which imports it.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from testops.domain.errors import BadInput

SIZE_MAX = 1_000_000
_KEPT_MAX = 4_096

_Key = tuple[str, int, int, int]
_kept: dict[_Key, tuple[str, ...]] = {}


def functions_in(path: Path) -> Sequence[str]:
    """The names that `path` binds to functions, in its order; `BadInput` when it cannot be read.

    One that arrives by `import *` or by a call of `setattr` is not seen. Answers are kept until the
    file changes.
    """
    try:
        stat = path.stat()
        key = (str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino)
        known = _kept.get(key)
        if known is not None:
            return known
        names = _parsed(path)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise BadInput(problem, where=path.name, fix="check the file") from error
    if len(_kept) >= _KEPT_MAX:
        _kept.clear()
    _kept[key] = names
    return names


def _parsed(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        source = file.read(SIZE_MAX + 1)
    if len(source) > SIZE_MAX:
        raise BadInput(f"larger than {SIZE_MAX} bytes", where=path.name, fix="split the file")
    try:
        tree = ast.parse(source, filename=path.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        place = f"{path.name}:{line}" if line else path.name
        problem = f"not valid Python: {getattr(error, 'msg', error)}"
        raise BadInput(problem, where=place, fix="correct the syntax there") from error
    return tuple(dict.fromkeys(_bound(tree.body)))


def _bound(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """What the statements of a module bind, and those under its `if`, `try` and `with`."""
    for statement in statements:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.If(body=body, orelse=orelse):
                yield from _bound([*body, *orelse])
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                caught = [inner for handler in handlers for inner in handler.body]
                yield from _bound([*body, *caught, *orelse, *finalbody])
            case ast.With(body=body):
                yield from _bound(body)
            case _:
                pass  # binds no function, or one that only running it would tell
