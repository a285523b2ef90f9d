"""`testops init` finds what a project uses, writes over no file, and what it writes is valid."""

from pathlib import Path

import pytest

from testops.cli.starter import write_starter
from testops.cli.survey import App, survey
from testops.domain.errors import BadInput
from testops.runner.suites import load_suite, resolve_sim

APP = """\
from fastapi import FastAPI

app: FastAPI = FastAPI(title="shop")

@app.get("/items/{number}")
def item(number: int) -> int:
    return number

@app.get("/needs")
def needs(limit: int) -> int:
    return limit

@app.get("/health")
def health() -> str:
    return "ok"
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py" if not path.suffix else path.suffix).write_text(text)


def starter(folder: Path) -> list[str]:
    said: list[str] = []
    write_starter(folder, echo=said.append)
    return said


def test_an_empty_folder_gets_a_suite_that_only_simulates(tmp_path: Path) -> None:
    said = starter(tmp_path)
    assert "wrote    suites/default.yaml" in said
    assert said[-1] == "next     testops run"
    loaded = load_suite(None, working_folder=tmp_path)
    assert list(loaded.suite.stages.named()) == ["sim"]
    assert resolve_sim(loaded, lambda _: ["replies_arrive"]).kernels


def test_a_second_init_keeps_every_file(tmp_path: Path) -> None:
    starter(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "suites/default.yaml").write_text("mine")
    said = starter(tmp_path)
    assert not any(line.startswith("wrote") for line in said)
    assert (tmp_path / "suites/default.yaml").read_text() == "mine"
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(before)


def test_what_a_project_uses_becomes_its_stages(tmp_path: Path) -> None:
    write(tmp_path, src__shop__main=APP, src__shop____init__="", tests__test_shop="")
    (tmp_path / "src/shop/__init__.py").write_text("")
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n[tool.mypy]\n")
    starter(tmp_path)
    stages = load_suite(None, working_folder=tmp_path).suite.stages
    assert list(stages.named()) == ["lint", "unit", "sim"]
    assert stages.lint is not None
    assert stages.lint.mypy is not None
    assert stages.lint.mypy.paths == ["src"]
    assert stages.unit is not None
    assert (stages.unit.paths, stages.unit.coverage) == (["tests"], ["src"])


def test_a_fastapi_app_is_found_without_importing_it(tmp_path: Path) -> None:
    write(tmp_path, src__shop__main="raise SystemExit\n" + APP)
    assert survey(tmp_path).app == App("shop.main", "app", "src", "/health")
    starter(tmp_path)
    kernel = (tmp_path / "sim/kernels/service_answers.py").read_text()
    assert "from shop.main import app" in kernel
    assert 'client.get("/health")' in kernel
    assert "@" not in kernel.replace("@toron.kernel", "")


def test_an_app_without_a_plain_route_is_asked_for_its_description(tmp_path: Path) -> None:
    write(tmp_path, main="import fastapi\napi = fastapi.FastAPI()\n")
    assert survey(tmp_path).app == App("main", "api", "", "/openapi.json")


def test_files_that_are_no_python_do_not_stop_it(tmp_path: Path) -> None:
    write(tmp_path, broken="def (:\n")
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    (tmp_path / "pyproject.toml").write_text("not toml [")
    (tmp_path / "setup.cfg").write_text("no section\n")
    assert survey(tmp_path).app is None


def test_the_projects_own_environment_runs_its_tools(tmp_path: Path) -> None:
    write(tmp_path, test_it="", it="")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text("")
    starter(tmp_path)
    unit = load_suite(None, working_folder=tmp_path).suite.stages.unit
    assert unit is not None
    assert unit.python == ".venv/bin/python"


def test_a_file_called_suites_is_refused(tmp_path: Path) -> None:
    (tmp_path / "suites").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        starter(tmp_path)
