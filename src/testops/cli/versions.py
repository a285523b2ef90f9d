"""`testops versions`: what runs here, and which versions were qualified together."""

import json

import click

from testops import wiring
from testops.domain.verdict import ExitCode
from testops.domain.versions import Versions


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def versions(as_json: bool) -> ExitCode:
    """Print the versions that a result depends on, and the matrix of those qualified together.

    Exit 2 when what is installed is in no row of it: no command would run or serve.
    """
    from testops.wiring.versions import in_force

    found, installed = in_force(), wiring.installed_versions()
    if as_json:
        body = {**found.to_json(), "installed": dict(installed)}
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        for name, version in installed.items():
            click.echo(f"{name}\t{version}".expandtabs(24))
        click.echo(_matrix(found))
    return ExitCode.HOLDS if found.matrix.row_of(found.running) else ExitCode.BAD_INPUT


def _matrix(found: Versions) -> str:
    own = found.matrix.row_of(found.running)
    lines = ["", "qualified together (* is what runs here)"]
    lines += [
        f"{'*' if row is own else ' '} {row.text()}: {row.qualified_by}"
        for row in found.matrix.rows
    ]
    if own is None:
        lines.append(f"what runs here is in no row: {found.running.text()}")
    return "\n".join(lines)
