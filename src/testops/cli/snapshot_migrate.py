"""`testops snapshot migrate`: stored bundles in the newest schema that this program writes."""

import json
from pathlib import Path

import click

from testops.runner.projects import project_around
from testops.snapshots.migrate import migrate as migrated


@click.command()
@click.argument("path", metavar="[BUNDLE|FOLDER]", required=False, type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def migrate(path: Path | None, dry_run: bool, as_json: bool) -> None:
    """Write bundles, and the records of baselines, in the newest schema; default: snapshots/.

    Nothing has to be migrated: older bundles are read as if they were new. The former identity
    stays in the record as migrated_from. There is no way back to an older schema.
    """
    project = project_around(Path.cwd())
    done = migrated(path or project.snapshots, dry_run=dry_run)
    if as_json:
        body = {"dry_run": dry_run, "bundles": [one.to_json() for one in done]}
        click.echo(json.dumps(body, ensure_ascii=False, indent=2))
        return
    needed = [one for one in done if one.is_needed]
    for one in needed:
        click.echo(
            f"{'would migrate' if dry_run else 'migrated'} {project.shown(one.path)}: "
            f"schema {one.former_schema} to {one.schema}, "
            f"identity {one.former_identity[:16]} to {one.identity[:16]}"
        )
    bundles = "1 bundle" if len(done) == 1 else f"{len(done)} bundles"
    said = "to migrate" if dry_run else "migrated"
    click.echo(f"{bundles}: {len(needed)} {said}, {len(done) - len(needed)} in the newest schema")
