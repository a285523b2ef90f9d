"""`testops snapshot migrate`: stored bundles in the newest schema that this program writes."""

import json
import os
from pathlib import Path

import click

from testops.domain.errors import BadInput
from testops.runner.projects import project_around
from testops.snapshots.migrate import migrate as migrated
from testops.wiring.snapshot_store import project_store


@click.command()
@click.argument("path", metavar="[BUNDLE|FOLDER]", required=False, type=click.Path(path_type=Path))
@click.option("--store", is_flag=True, help="What this project keeps in the snapshot store.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def migrate(path: Path | None, store: bool, dry_run: bool, as_json: bool) -> None:
    """Write bundles, and the records of baselines, in the newest schema; default: snapshots/.

    Nothing has to be migrated: older bundles are read as if they were new. The former identity
    stays in the record as migrated_from; in the store the original stays beside what it became.
    There is no way back to an older schema.
    """
    project = project_around(Path.cwd())
    if store and path is not None:
        raise BadInput("goes without a path", where="--store", fix="give one of the two")
    if store:
        kept = project_store(Path.cwd(), os.environ, told=lambda said: click.echo(said, err=True))
        done = kept.migrate(dry_run=dry_run)
    else:
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
