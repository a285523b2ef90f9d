"""`/v1/snapshots/compare`: whether two bundles, each of a run or by identity, behave alike."""

import tempfile
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from testops.api.answers import encode, problems
from testops.api.ports import ApiServices
from testops.api.problems import CONFLICT, INVALID, NOT_FOUND, UNQUALIFIED, Problem, error_at
from testops.api.routing import Admitted, Caller, missing, permits, router
from testops.api.runs import existing_run
from testops.api.schemas import CompareAsked, ComparisonShown
from testops.domain.access import Permission
from testops.domain.errors import BadInput
from testops.domain.execution import Artifact
from testops.domain.run_view import RunView
from testops.domain.verdict import exit_code_of
from testops.domain.versions import Unqualified
from testops.runner.versions import sides_of
from testops.snapshots import Comparison, compare_paths

routes = router("snapshots")

BUNDLE_BYTES_MAX = 256 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_RUN_ID_LENGTH = 16


@routes.post(
    "/v1/snapshots/compare",
    operation_id="compareSnapshots",
    summary="Compare two bundles",
    responses={**problems(409, body=True), 200: {"model": ComparisonShown}},
)
@permits(Permission.SNAPSHOTS_COMPARE)
async def compare_snapshots(asked: CompareAsked, caller: Admitted) -> Response:
    """The verdict, every delta, and the command that shows it; as the command line prints it."""
    base = await _bundle(caller, asked.base)
    target = await _bundle(caller, asked.target)
    masks = None if asked.masks is None else encode(asked.masks.model_dump())
    return await run_in_threadpool(_compare, caller.services, base, target, masks)


async def _bundle(caller: Caller, name: str) -> Artifact:
    """The recorded bundle that a run id or an identity names, where the caller may see it."""
    run_id: str | None = name
    if len(name) != _RUN_ID_LENGTH:
        services = caller.services
        run_id = await run_in_threadpool(services.bundles.run_with, name, caller.workspaces)
        if run_id is None:
            raise missing(f"bundle {name}")
    view = await existing_run(caller, run_id or "")
    found = await run_in_threadpool(caller.services.runs.artifacts, view.run_id, view.attempt)
    return _bundle_of(view, {artifact.path: artifact for artifact in found})


def _bundle_of(view: RunView, artifacts: dict[str, Artifact]) -> Artifact:
    artifact = artifacts.get(f"snapshots/run-{view.run_id}.tar.gz")
    if artifact is None or view.bundle_identity is None:
        raise Problem(CONFLICT, f"run {view.run_id} has left no bundle (it is {view.state.value})")
    if artifact.size > BUNDLE_BYTES_MAX:
        raise Problem(CONFLICT, f"the bundle of run {view.run_id} is too large to compare here")
    return artifact


def _compare(
    services: ApiServices, base: Artifact, target: Artifact, masks: bytes | None
) -> Response:
    with tempfile.TemporaryDirectory(prefix="testops-compare-") as name:
        folder = Path(name)
        masks_file = None
        if masks is not None:
            masks_file = folder / "masks.json"
            masks_file.write_bytes(masks)
        paths = [
            _fetched(services, artifact, folder / side)
            for side, artifact in (("base", base), ("target", target))
        ]
        try:
            comparison = compare_paths(paths[0], paths[1], masks=masks_file)
            _require_comparable(services, comparison)
        except BadInput as error:
            detail = str(error).replace(f"{folder}/", "")
            raise Problem(INVALID, detail, errors=[error_at("body", "/masks", detail)]) from error
        shown = comparison.to_json() | {"exit_code": int(exit_code_of(comparison.verdict))}
        # The command line names files there; here nobody has them.
        return answer_without(shown, f"{folder}/")


def _require_comparable(services: ApiServices, comparison: Comparison) -> None:
    try:
        services.versions.matrix.require_comparable(*sides_of(comparison.to_json()))
    except Unqualified as error:
        raise Problem(UNQUALIFIED, str(error)) from error


def answer_without(shown: object, folder: str) -> Response:
    """`shown` as JSON, without the folder in which it was made."""
    raw = encode(shown).replace(encode(folder)[1:-1], b"")
    return Response(raw, media_type="application/json")


def _fetched(services: ApiServices, artifact: Artifact, folder: Path) -> Path:
    """The bundle as a file of its own name: comparing reads files."""
    folder.mkdir()
    path = folder / Path(artifact.path).name
    with path.open("wb") as file:
        for offset in range(0, artifact.size, _CHUNK_BYTES):
            try:
                chunk = services.contents.read(artifact.sha256, offset=offset, length=_CHUNK_BYTES)
            except FileNotFoundError as error:
                raise Problem(NOT_FOUND, "retention has removed that bundle") from error
            file.write(chunk)
    return path
