"""`testops report import` and `export`: files of other tools as our values, and as other files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from testops.domain.errors import BadInput
from testops.domain.stage import Metric
from testops.domain.verdict import ExitCode
from testops.reports.formats.cobertura import write_cobertura
from testops.reports.formats.ctrf import write_ctrf
from testops.reports.formats.junit import write_junit
from testops.reports.formats.reading import read_source
from testops.reports.formats.sarif import write_sarif
from testops.reports.imports import (
    Format,
    Imported,
    format_called,
    import_report,
    kept,
    merged_imports,
)
from testops.runner.files import write_atomically
from testops.runner.projects import Project, project_around
from testops.runner.record_lookup import run_folder

_FILES = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
_AS = click.option("--as", "asked", metavar="FORMAT", help=f"What it is: {', '.join(Format)}.")


@click.command(name="import")
@_FILES
@_AS
@click.option("--suite", metavar="NAME", help="What it is called; default: the file's name.")
@click.option("--run", "run_id", metavar="RUN", help="The run that it belongs to.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def import_(
    files: tuple[Path, ...],
    asked: str | None,
    suite: str | None,
    run_id: str | None,
    *,
    as_json: bool,
) -> ExitCode:
    """Read reports of other tools: JUnit, CTRF, Cobertura, LCOV, SARIF, k6, Hyperfoil, hyperfine.

    The metrics are printed under the names that gates use; what a tool did not measure has none.
    Each file's content is kept in reports/imported/, under its digest.
    """
    project = project_around(Path.cwd())
    if run_id is not None:
        run_id = run_folder(project, run_id, where="--run").name
    imported = _read(files, asked, suite, project)
    # All are read before the first is kept: one bad file leaves nothing half done.
    shown = [_keep(one, run_id, project) for one in imported]
    if as_json:
        click.echo(_printable(json.dumps({"imported": shown}, ensure_ascii=False, indent=2)))
        return ExitCode.HOLDS
    for one, body in zip(imported, shown, strict=True):
        _print(one, body["kept"])
    return ExitCode.HOLDS


def _read(
    files: tuple[Path, ...], asked: str | None, suite: str | None, project: Project
) -> list[Imported]:
    found = format_called(asked) if asked is not None else None
    return [
        import_report(
            read_source(path, shown=str(path)), root=project.root, suite=suite or "", asked=found
        )
        for path in files
    ]


def _keep(imported: Imported, run_id: str | None, project: Project) -> Mapping[str, Any]:
    path = project.reports / "imported" / f"{imported.digest[:16]}.json"
    # A name with half a character in it is spelled as JSON spells it.
    write_atomically(path, kept(imported, run_id=run_id).encode("utf-8", "backslashreplace"))
    return {**imported.to_json(), "run": run_id, "kept": project.shown(path)}


def _print(imported: Imported, kept_at: str) -> None:
    head = f"{imported.name}: {imported.format.value}, {imported.suite}"
    click.echo(_printable(head))
    for metric in imported.metrics:
        click.echo(f"  {metric.name:<20} {_number(metric)}")
    for note in imported.notes:
        click.echo(_printable(f"  note: {note}"))
    click.echo(f"  kept in {kept_at}")


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _number(metric: Metric) -> str:
    value = f"{metric.value:.4f}".rstrip("0").rstrip(".")
    return f"{value} {metric.unit}".rstrip()


_WRITTEN = (Format.JUNIT, Format.CTRF, Format.COBERTURA, Format.SARIF)


@click.command()
@_FILES
@click.option(
    "--to",
    "target",
    required=True,
    metavar="PATH",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.",
)
@click.option(
    "--as",
    "asked",
    required=True,
    type=click.Choice([one.value for one in _WRITTEN]),
    help="What to write.",
)
def export(files: tuple[Path, ...], target: Path, asked: str) -> ExitCode:
    """Merge FILEs and write them as one: tests as JUnit or CTRF, coverage as Cobertura, SARIF.

    Coverage of shards is added up, findings that several files have are told once.
    """
    project = project_around(Path.cwd())
    imported = _read(files, None, None, project)
    text = _text_of(Format(asked), imported)
    write_atomically(target, text.encode("utf-8", "backslashreplace"))
    click.echo(f"{target}: {asked} of {len(imported)} file{'s' if len(imported) > 1 else ''}")
    return ExitCode.HOLDS


def _text_of(wanted: Format, imported: list[Imported]) -> str:
    kinds = {
        Format.JUNIT: (Format.JUNIT, Format.CTRF),
        Format.CTRF: (Format.JUNIT, Format.CTRF),
        Format.COBERTURA: (Format.COBERTURA, Format.LCOV, Format.COVERAGE_JSON),
        Format.SARIF: (Format.SARIF,),
    }[wanted]
    for one in imported:
        if one.format not in kinds:
            raise BadInput(
                f"{one.format.value} cannot be written as {wanted.value}",
                where=one.name,
                fix=f"give files of {' or '.join(kinds)}",
            )
    whole = merged_imports(imported)
    match wanted:
        case Format.JUNIT:
            return write_junit(whole.tests, name="testops")
        case Format.CTRF:
            return write_ctrf(whole.tests)
        case Format.COBERTURA:
            return write_cobertura(whole.coverage)
        case _:
            return write_sarif(whole.findings, tools=whole.tools)
