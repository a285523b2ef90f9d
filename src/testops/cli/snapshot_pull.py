"""`testops snapshot pull`: what a server has approved, written into the project to be committed."""

import json
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import httpx

from testops.cli.remote import answered, reached
from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput
from testops.domain.review import Decision
from testops.domain.run import DEFAULT_WORKSPACE
from testops.domain.verdict import ExitCode
from testops.runner.projects import Project, project_around
from testops.snapshots import baseline_path, read_bundle
from testops.snapshots.approve import Evidence, approve, read_record, record_path

_TIMEOUT_S = 60.0
_KEY = ("suite", "profile", "engine_version", "python")


@click.command()
@click.option("--url", metavar="URL", help="The server; default: TESTOPS_URL.")
@click.option("--workspace", default=DEFAULT_WORKSPACE, show_default=True, metavar="NAME")
@click.option("--suite", metavar="NAME", help="Only baselines of this suite.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def pull(url: str | None, workspace: str, suite: str | None, as_json: bool) -> ExitCode:
    """Write the baselines that a server has approved into snapshots/golden.

    Each with its record: who approved it there, why, and of which commit. What is here already, and
    the same, is left alone; commit the rest, so that everyone compares with it.
    """
    address = url or os.environ.get("TESTOPS_URL")
    if not address:
        raise BadInput("no server is named", where="--url", fix="give its address, or TESTOPS_URL")
    key = os.environ.get("TESTOPS_API_KEY")
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    project = project_around(Path.cwd())
    query = {"workspace": workspace} | ({} if suite is None else {"suite": suite})
    with (
        reached(address),
        httpx.Client(base_url=address, headers=headers, timeout=_TIMEOUT_S) as http,
    ):
        found = answered(http.get("/v1/snapshots/baselines", params=query))["baselines"]
        done = [_pulled(http, one, project) for one in found]
    if as_json:
        click.echo(json.dumps({"baselines": done}, ensure_ascii=False, indent=2))
        return ExitCode.HOLDS
    for one in done:
        click.echo(f"{'written' if one['written'] else 'the same'}: {one['path']}")
    if not done:
        click.echo(f"workspace {workspace} of {address} has approved nothing")
    elif any(one["written"] for one in done):
        click.echo("commit them, so that everyone compares with the same")
    return ExitCode.HOLDS


def _pulled(http: httpx.Client, one: dict[str, Any], project: Project) -> dict[str, Any]:
    """Write one baseline with its record, unless it is here; what was done."""
    golden = project.snapshots / "golden"
    key = BundleKey(**{name: one[name] for name in _KEY})
    path = baseline_path(golden, key)
    # The server's words make a path here, before any bundle has said the same.
    if not path.resolve().is_relative_to(golden.resolve()):
        raise BadInput(f"it sent the key {key.text()}", where=str(http.base_url))
    shown = {"identity": one["identity"], "path": project.shown(path), "written": False}
    record = record_path(path)
    known = read_record(record).get("identity") if record.exists() else None
    if known == one["identity"] and path.exists() and read_bundle(path).identity == known:
        return shown
    approvals = [Decision(**approval) for approval in one["approvals"]]
    last = approvals[-1]
    with tempfile.TemporaryDirectory(prefix="testops-pull-") as folder:
        source = Path(folder) / path.name
        _download(http, one, source)
        # Refused unless its content is what was approved, whatever the server sends.
        sent = read_bundle(source)
        if (sent.identity, sent.header.key) != (one["identity"], key):
            raise BadInput(
                f"what it sent is not the bundle {one['identity']} of {key.text()}",
                where=str(http.base_url),
            )
        approve(
            source,
            golden,
            who=last.who,
            why=last.why,
            at=datetime.fromisoformat(last.at),
            # People there have seen what failed, and said so.
            allow_failing=True,
            evidence=Evidence(approvals, one["provenance"]),
        )
    return shown | {"written": True}


def _download(http: httpx.Client, one: dict[str, Any], target: Path) -> None:
    query = {"workspace": one["workspace"]}
    with http.stream("GET", f"/v1/snapshots/{one['identity']}/content", params=query) as response:
        if not response.is_success:
            response.read()
            answered(response)
        with target.open("wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
