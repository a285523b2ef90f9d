"""`testops init`: a commented suite, the offline profile and a first kernel, never over a file."""

from collections.abc import Callable, Iterator
from pathlib import Path

from testops.cli import starter_texts as texts
from testops.cli.survey import App, Survey, has_modules, survey
from testops.domain.errors import BadInput
from testops.runner.files import write_new

Echo = Callable[[str], None]


def write_starter(folder: Path, *, echo: Echo) -> None:
    """Write what is missing, say what was found and written, and name the next command."""
    found = survey(folder)
    for line in _found_lines(found):
        echo(f"found    {line}")
    # `suites` would be taken for a folder of suites wherever it stands.
    if (folder / "suites").exists() and not (folder / "suites").is_dir():
        raise BadInput("is a file", where=str(folder / "suites"), fix="move it away")
    for relative, content in _files(found):
        new = write_new(folder / relative, content.encode())
        echo(f"{'wrote' if new else 'kept':<9}{relative}" + ("" if new else " (it was there)"))
    for line in _hints(found):
        echo(f"note     {line}")
    echo("next     testops run")


def _files(found: Survey) -> Iterator[tuple[str, str]]:
    app = _usable_app(found)
    kernel = "service_answers" if app is not None else "replies_arrive"
    yield f"sim/kernels/{kernel}.py", _kernel_text(app)
    yield "suites/default.yaml", _suite_text(found, kernel)
    yield "profiles/offline.yaml", texts.PROFILE
    yield "snapshots/.gitignore", texts.SNAPSHOTS_IGNORED
    yield "reports/.gitignore", texts.REPORTS_IGNORED


def _usable_app(found: Survey) -> App | None:
    """The app, when the environment that kernels run in can serve and call it."""
    return found.app if has_modules("fastapi", "uvicorn", "httpx") else None


def _kernel_text(app: App | None) -> str:
    if app is None:
        return texts.ASYNCIO_KERNEL
    root = "PROJECT" if not app.root else f'PROJECT / "{app.root}"'
    return (
        texts.FASTAPI_KERNEL.replace("@ROOT@", root)
        .replace("@MODULE@", app.module)
        .replace("@APP@", app.name)
        .replace("@PATH@", app.path)
    )


def _suite_text(found: Survey, kernel: str) -> str:
    parts = [texts.SUITE_HEAD]
    linters = list(_linters(found))
    if linters:
        parts += [texts.LINT_HEAD, *_python_line(found), *linters, "\n"]
    if found.tests:
        parts += [texts.UNIT_HEAD, *_python_line(found), f"    paths: {_flow(found.tests)}\n"]
        folders = [source for source in found.sources if not source.endswith(".py")]
        covered = folders or (["."] if found.sources else [])
        if covered:
            parts.append(
                f"    coverage: {_flow(covered)}   # measured where coverage is installed\n"
            )
        parts.append("\n")
    parts.append(texts.SIM.replace("@KERNEL@", kernel))
    return "".join(parts)


def _linters(found: Survey) -> Iterator[str]:
    paths = _flow(found.sources or (".",))
    if found.uses_ruff:
        yield f"    ruff: {{paths: {paths}}}\n"
        yield f"    format: {{paths: {paths}}}\n"
    if found.uses_mypy:
        yield f"    mypy: {{paths: {paths}}}\n"


def _python_line(found: Survey) -> list[str]:
    return [f"    python: {found.python}\n"] if found.python is not None else []


def _flow(names: tuple[str, ...] | list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _found_lines(found: Survey) -> Iterator[str]:
    yield f"source: {', '.join(found.sources) or 'none'}"
    yield f"tests: {', '.join(found.tests) or 'none (no unit stage)'}"
    linters = [
        name for name, used in (("ruff", found.uses_ruff), ("mypy", found.uses_mypy)) if used
    ]
    yield f"linters configured: {', '.join(linters) or 'none (no lint stage)'}"
    if found.app is not None:
        yield f"FastAPI app: {found.app.module}:{found.app.name}, answers GET {found.app.path}"
    if found.python is not None:
        yield f"the project's own environment: {found.python}"


def _hints(found: Survey) -> Iterator[str]:
    if found.app is not None and _usable_app(found) is None:
        yield "to simulate the app, pip install fastapi uvicorn httpx beside testops, move"
        yield "sim/kernels/replies_arrive.py and suites/default.yaml away, and run init again"
