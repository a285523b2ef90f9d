"""`testops run` where `TESTOPS_URL` names a server: it is asked for there, and watched here."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx

from testops.cli import watch
from testops.domain.errors import BadInput, StoreUnavailable
from testops.domain.verdict import ExitCode
from testops.runner.archives import pack
from testops.runner.projects import project_around
from testops.runner.seeding import SeedFlags, seeds_said

_TIMEOUT_S = 60.0
_UPLOAD_S = 600.0
_DETAIL_MAX = 400


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that is wanted on a server; None where it is left to the suite."""

    url: str
    key: str | None
    suite: str | None
    profile: str | None
    policy: str | None
    seeds: SeedFlags
    environment: Mapping[str, str]
    workspace: str
    upload: bool
    as_json: bool


def run(asked: Asked, *, draw_seed: Callable[[], int]) -> ExitCode:
    """Ask for the run, always for a new attempt, and follow it to its end; its exit code."""
    if asked.suite is None:
        raise BadInput("no suite is named", fix="name one: testops run SUITE")
    headers = {} if asked.key is None else {"authorization": f"Bearer {asked.key}"}
    with (
        reached(asked.url),
        httpx.Client(base_url=asked.url, headers=headers, timeout=_TIMEOUT_S) as http,
    ):
        if asked.upload:
            _upload(http, asked)
        run_id = _create(http, _body(asked, draw_seed))
        code = watch.watch(
            watch.Asked(run_id, asked.url, asked.key, as_json=False, quiet=asked.as_json),
            draw=lambda: draw_seed() / 2**64,
        )
        if asked.as_json:
            found = answered(http.get(f"/v1/test-runs/{run_id}"))
            click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    return code


@contextlib.contextmanager
def reached(url: str) -> Iterator[None]:
    """A server that does not answer may come back; an address that is none never will."""
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise BadInput(f"it is no address: {error}", where=f"TESTOPS_URL {url}") from None
    except httpx.TransportError as error:
        raise StoreUnavailable(
            f"TESTOPS_URL {url}: the server does not answer ({str(error) or type(error).__name__});"
            " start it, or correct the address"
        ) from error


def _body(asked: Asked, draw_seed: Callable[[], int]) -> dict[str, Any]:
    body: dict[str, Any] = {"suite": asked.suite, "workspace": asked.workspace}
    if asked.profile is not None:
        body["profile"] = asked.profile
    if asked.policy is not None:
        name = asked.policy.removeprefix("server:")
        body["policy"] = name if name == asked.policy else {"server": name}
    seeds = _seeds(asked, draw_seed)
    return {**body, "seeds": seeds} if seeds else body


def _seeds(asked: Asked, draw_seed: Callable[[], int]) -> dict[str, Any]:
    """What was said about seeds here, by flag or environment; the rest is the suite's."""
    said = seeds_said(asked.seeds, asked.environment, draw_seed)
    found: dict[str, Any] = {"chaos": said.chaos}
    if said.sim_range is not None:
        found["sim_range"] = f"{said.sim_range.start}:{said.sim_range.stop}"
    else:
        found["sim"] = said.sim
    return {name: value for name, value in found.items() if value is not None}


def _upload(http: httpx.Client, asked: Asked) -> None:
    with tempfile.TemporaryDirectory(prefix="testops-pack-") as folder:
        archive = Path(folder) / "project.tar.gz"
        pack(project_around(Path.cwd()).root, archive)
        answered(
            http.put(
                f"/v1/workspaces/{asked.workspace}/archive",
                content=archive.read_bytes(),
                headers={"content-type": "application/gzip"},
                timeout=_UPLOAD_S,
            )
        )


def _create(http: httpx.Client, body: Mapping[str, Any]) -> str:
    response = http.post("/v1/test-runs", json=body)
    found = answered(response)
    run_id = str(found["run_id"])
    if response.status_code == httpx.codes.OK and found["state"] not in ("queued", "running"):
        # The server has the answer; whoever types the command wants to see it come about.
        found = answered(http.post(f"/v1/test-runs/{run_id}/rerun", json={"mode": "same"}))
    return str(found["run_id"])


def answered(response: httpx.Response) -> dict[str, Any]:
    """The body of a good answer; `BadInput` with what the server says of a bad one."""
    try:
        body: Any = response.json()
    except ValueError:
        body = {}
    if response.is_success and isinstance(body, dict):
        return body
    said = body.get("detail") if isinstance(body, dict) else None
    detail = str(said or response.text[:_DETAIL_MAX] or response.reason_phrase)
    raise BadInput(f"{response.status_code}: {detail}", where=str(response.request.url))
