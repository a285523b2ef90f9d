"""`/v1/test-runs/{id}/certificate`: what a finished run proves, signed, for whoever is not here."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import matches, problems, tagged
from testops.api.ports import ApiServices
from testops.api.problems import CONFLICT, UNAVAILABLE, Problem
from testops.api.routing import Admitted, permits, router
from testops.api.runs import RunPath, existing_run
from testops.api.schemas import Wire
from testops.domain.access import Permission
from testops.domain.errors import BadInput
from testops.domain.execution import Artifact
from testops.domain.run_view import RunView
from testops.runner.certifying import NotProven, certified, file_sha256
from testops.warroom.certificate import bundle_file
from testops.warroom.certificate_keys import SigningKey

routes = router("certificates")

MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
_CHUNK_BYTES = 1024 * 1024


class CertificateKeyShown(Wire):
    """A public key; its id is the SHA-256 of its SubjectPublicKeyInfo."""

    key_id: str
    public_key: str


class CertificateKeyList(Wire):
    """The keys that sign here."""

    keys: list[CertificateKeyShown]


@routes.get(
    "/v1/test-runs/{run_id}/certificate",
    operation_id="getCertificate",
    summary="What the newest attempt proves",
    response_class=Response,
    responses={
        **problems(409),
        200: {
            "description": "A DSSE envelope around an in-toto statement",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.RUNS_READ)
async def get_certificate(request: Request, run_id: RunPath, caller: Admitted) -> Response:
    """Made of the files that were kept; `testops verify-certificate` verifies it offline.

    409 when the run has not finished, or when what it left is missing or damaged.
    """
    view = await existing_run(caller, run_id)
    key = await run_in_threadpool(_key, caller.services)
    found = await run_in_threadpool(caller.services.runs.artifacts, run_id, view.attempt)
    raw = await run_in_threadpool(_certificate, caller.services, view, found, key)
    await caller.done("certificate.signed", run_id, view.workspace)
    tag = f'"{hashlib.sha256(raw).hexdigest()[:32]}"'
    name = f"certificate-{run_id}.json"
    headers = {
        "etag": tag,
        "cache-control": "private, no-cache",
        "content-disposition": f'attachment; filename="{name}"',
    }
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    return Response(raw, headers=headers, media_type=MEDIA_TYPE)


@routes.get(
    "/v1/certificate-keys",
    operation_id="listCertificateKeys",
    summary="The public keys that verify certificates of this server",
    responses={**problems(), 200: {"model": CertificateKeyList}},
)
@permits(Permission.RUNS_READ)
async def list_certificate_keys(request: Request, caller: Admitted) -> Response:
    """Compare the id with what the operator tells you: a forger of runs can forge this too."""
    public = (await run_in_threadpool(_key, caller.services)).public
    return tagged(request, {"keys": [{"key_id": public.key_id, "public_key": public.pem}]})


def _key(services: ApiServices) -> SigningKey:
    try:
        return services.signing_key()
    except BadInput as error:
        # The operator's to mend, and what it says names a place of theirs.
        raise Problem(
            UNAVAILABLE,
            "there is no key to sign with: the operator sets TESTOPS_SIGNING_KEY",
        ) from error


def _certificate(
    services: ApiServices, view: RunView, found: Sequence[Artifact], key: SigningKey
) -> bytes:
    with tempfile.TemporaryDirectory(prefix="testops-certificate-") as folder:
        bundle = Path(folder) / bundle_file(view.run_id)
        wanted = next((one for one in found if Path(one.path).name == bundle.name), None)
        try:
            if wanted is not None:
                _fetch(services, wanted, bundle)
            made = certified(
                view.to_json(),
                bundle,
                key,
                testops=services.version,
                question=view.question,
            )
        except NotProven as error:
            raise Problem(CONFLICT, f"run {view.run_id} gets no certificate: {error}") from error
        return made.raw


def _fetch(services: ApiServices, artifact: Artifact, target: Path) -> None:
    with target.open("wb") as file:
        for offset in range(0, artifact.size, _CHUNK_BYTES):
            try:
                chunk = services.contents.read(artifact.sha256, offset=offset, length=_CHUNK_BYTES)
            except FileNotFoundError:
                raise NotProven("retention has removed its bundle") from None
            file.write(chunk)
    if file_sha256(target) != artifact.sha256:
        raise NotProven("its bundle is damaged: the store gave other bytes than were put there")
