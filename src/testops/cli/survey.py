"""Looks at a Python project, without importing it: which tools it uses, what could be simulated."""

import ast
import configparser
import importlib.util
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SKIPPED = frozenset({"node_modules", "build", "dist", "site-packages", "__pycache__", "sim"})
_FILES_MAX = 2000
_NOT_SOURCE = frozenset({"tests", "test", "docs", "examples", "scripts"})


@dataclass(frozen=True, slots=True)
class App:
    """A FastAPI application: `module:name`, where to import it from, and a path that it answers."""

    module: str
    name: str
    root: str
    path: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found; an empty tuple or None where there was nothing."""

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]
    uses_ruff: bool
    uses_mypy: bool
    python: str | None
    app: App | None


def survey(folder: Path) -> Survey:
    """What is in `folder`."""
    tools = _tools_of(folder)
    ini = _ini_sections(folder)
    return Survey(
        name=folder.name,
        sources=tuple(_sources(folder)),
        tests=tuple(_tests(folder)),
        uses_ruff="ruff" in tools or _any(folder, "ruff.toml", ".ruff.toml"),
        uses_mypy="mypy" in tools or "mypy" in ini or _any(folder, "mypy.ini", ".mypy.ini"),
        python=_environment_of(folder),
        app=next(_apps(folder), None),
    )


def has_modules(*names: str) -> bool:
    """Whether our own environment, in which kernels run, can import all of `names`."""
    return all(importlib.util.find_spec(name) is not None for name in names)


def _any(folder: Path, *names: str) -> bool:
    return any((folder / name).is_file() for name in names)


def _tools_of(folder: Path) -> Mapping[str, Any]:
    try:
        document = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    tools = document.get("tool", {})
    return tools if isinstance(tools, dict) else {}


def _ini_sections(folder: Path) -> list[str]:
    parser = configparser.ConfigParser()
    try:
        parser.read(folder / "setup.cfg", encoding="utf-8")
    except (configparser.Error, ValueError):
        return []
    return parser.sections()


def _environment_of(folder: Path) -> str | None:
    """The project's own interpreter, where it has an environment in a usual place."""
    for name in (".venv", "venv"):
        if (folder / name / "bin" / "python").exists():
            return f"{name}/bin/python"
    return None


def _sources(folder: Path) -> Iterator[str]:
    """Packages below `src/`, else packages, else modules, of the project's top folder."""
    if any((folder / "src").glob("*/__init__.py")) or any((folder / "src").glob("*.py")):
        yield "src"
        return
    packages = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    named = [name for name in packages if name not in _NOT_SOURCE]
    yield from named or sorted(
        path.name for path in folder.glob("*.py") if path.name not in ("setup.py", "conftest.py")
    )


def _tests(folder: Path) -> Iterator[str]:
    for name in ("tests", "test"):
        if any((folder / name).rglob("test_*.py")) or any((folder / name).rglob("*_test.py")):
            yield name
            return
    yield from sorted(path.name for path in folder.glob("test_*.py"))


def _apps(folder: Path) -> Iterator[App]:
    for path in _python_files(folder):
        try:
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError):
            continue
        for name in _names_of_apps(tree):
            root = "src" if path.is_relative_to(folder / "src") else ""
            parts = path.relative_to(folder / root).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield App(module, name, root, _path_answered(tree, name))


def _python_files(folder: Path) -> Iterator[Path]:
    seen = 0
    waiting = [folder]
    while waiting:
        here = waiting.pop(0)
        for path in sorted(here.iterdir()):
            if path.is_dir() and not path.is_symlink():
                hidden = path.name.startswith(".") or (path / "pyvenv.cfg").exists()
                if not hidden and path.name not in _SKIPPED | _NOT_SOURCE:
                    waiting.append(path)
            elif path.suffix == ".py" and not path.name.startswith("test_") and seen < _FILES_MAX:
                seen += 1
                yield path


def _names_of_apps(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        value = getattr(statement, "value", None)
        if isinstance(value, ast.Call) and _last_name(value.func) == "FastAPI":
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _last_name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _path_answered(tree: ast.Module, app: str) -> str:
    """A GET route without parameters, else the description that every FastAPI app serves."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        needs_nothing = not (node.args.args or node.args.kwonlyargs)
        for decorator in node.decorator_list:
            route = _route(decorator, app)
            if route is not None and "{" not in route and needs_nothing:
                return route
    return "/openapi.json"


def _route(decorator: ast.expr, app: str) -> str | None:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
        return None
    on_app = isinstance(decorator.func.value, ast.Name) and decorator.func.value.id == app
    if not on_app or decorator.func.attr != "get" or not decorator.args:
        return None
    path = decorator.args[0]
    return path.value if isinstance(path, ast.Constant) and isinstance(path.value, str) else None
