"""The gate certificate: what a finished run proves, in a form that one public key verifies offline.

A certificate is an in-toto Statement v1. Its subjects are digests: of the bundle (`bundle` is the
identity, the file's own name its bytes) and of the results. Its predicate says what a reader needs
to decide without us: the verdict, every gate with its reason, what was waived and by whom, which
stages ran, seeds, build, versions and the command that does it all again. It holds nothing that
was not in the run, and not the time at which it was made: the same run gives the same bytes.

Where the facts come from, and whether they agree with the files, is `runner.certifying`. Signing
and reading the envelope is `certificate_envelope`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from testops.domain.verdict import ExitCode, Verdict
from testops.warroom.certificate_envelope import (
    ENVELOPE_BYTES_MAX,
    Json,
    Unproven,
    opened,
    parse,
    seal,
)
from testops.warroom.certificate_keys import PublicKey, SigningKey

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
# A name; nothing is fetched from there.
PREDICATE_TYPE = "https://ryuzen.dev/testops/gate/v1"
BUNDLE, RESULTS, POLICY = "bundle", "results", "policy"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
# Everything that a predicate holds, and of which shape.
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "run": (dict,),
    "verdict": (str,),
    "exitCode": (int,),
    "reason": (str,),
    "stages": (list,),
    "gates": (list,),
    "waivers": (list,),
    "policy": (dict, type(None)),
    "score": (dict, type(None)),
    "seeds": (dict,),
    "build": (dict,),
    "versions": (dict,),
    "reproduce": (str,),
    "startedAt": (str, type(None)),
    "finishedAt": (str, type(None)),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is certified; every digest was taken from the content itself."""

    run_id: str
    predicate: Mapping[str, Any]
    results_sha256: str
    policy_sha256: str
    # None: the run executed no simulation, so it left none.
    bundle_identity: str | None
    bundle_sha256: str | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was read and believed."""

    run_id: str
    attempt: int
    verdict: Verdict
    exit_code: ExitCode
    subjects: Mapping[str, str]
    predicate: Mapping[str, Any]
    key_id: str

    @property
    def bundle_identity(self) -> str | None:
        return self.subjects.get(BUNDLE)

    @property
    def bundle_sha256(self) -> str | None:
        """Of the bundle as a file, where it was one."""
        return self.subjects.get(bundle_file(self.run_id))


def bundle_file(run_id: str) -> str:
    """The name under which a run leaves its bundle."""
    return f"run-{run_id}.tar.gz"


def certify(facts: Facts, key: SigningKey) -> bytes:
    """The certificate of `facts`; `Unproven` when nobody could read it back."""
    raw = seal(rfc8785.dumps(_statement(facts)), key)
    if len(raw) > ENVELOPE_BYTES_MAX:
        raise Unproven("its gates and reasons are more than a certificate can hold")
    # Whatever we hand out, the next one can read.
    read_certificate(raw, [key.public])
    return raw


def _statement(facts: Facts) -> dict[str, Any]:
    digests = [
        (BUNDLE, facts.bundle_identity),
        (bundle_file(facts.run_id), facts.bundle_sha256),
        (POLICY, facts.policy_sha256),
        (RESULTS, facts.results_sha256),
    ]
    return {
        "_type": STATEMENT_TYPE,
        "predicate": dict(facts.predicate),
        "predicateType": PREDICATE_TYPE,
        "subject": [
            {"digest": {"sha256": digest}, "name": name}
            for name, digest in digests
            if digest is not None
        ],
    }


def read_certificate(raw: bytes, keys: Sequence[PublicKey]) -> Certificate:
    """The certificate in `raw`, signed by one of `keys`; `Unproven` says why it is not believed."""
    payload, key = opened(raw, keys)
    statement = parse(payload, "its statement")
    match statement:
        case {
            "_type": str(kind),
            "predicateType": str(predicate_type),
            "predicate": dict(predicate),
            "subject": list(subject),
            **more,
        } if not more:
            pass
        case _:
            raise Unproven("it is signed, and it is no in-toto statement")
    if kind != STATEMENT_TYPE:
        raise Unproven(f"it is signed, and a statement of another kind ({kind[:80]!r})")
    if predicate_type != PREDICATE_TYPE:
        raise Unproven(
            f"it is signed, and it is no gate certificate but {predicate_type[:80]!r}; "
            f"this program reads {PREDICATE_TYPE}"
        )
    return _believed(predicate, _subjects(subject), key.key_id)


def _subjects(subject: Sequence[Json]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in subject:
        match one:
            case {"name": str(name), "digest": {"sha256": str(digest), **others}, **more} if (
                not more and not others and _DIGEST.fullmatch(digest) and name not in found
            ):
                found[name] = digest
            case _:
                raise Unproven("it is signed, and one of its subjects is no name and sha256")
    return found


def _require_shape(predicate: Mapping[str, Json]) -> None:
    if unknown := sorted(set(predicate) ^ set(_FIELDS)):
        raise Unproven(f"it is signed, and its predicate has or lacks {unknown[0][:60]!r}")
    for name, shapes in _FIELDS.items():
        value = predicate[name]
        rows = value if isinstance(value, list) else []
        if not isinstance(value, shapes) or not all(isinstance(row, dict) for row in rows):
            raise Unproven(f"it is signed, and {name!r} in its predicate is of another shape")


def _believed(
    predicate: Mapping[str, Json], subjects: Mapping[str, str], key_id: str
) -> Certificate:
    _require_shape(predicate)
    match predicate["run"], predicate["verdict"], predicate["exitCode"]:
        case {"id": str(run_id), "attempt": int(attempt)}, str(verdict), int(code) if not (
            isinstance(attempt, bool) or isinstance(code, bool)
        ):
            pass
        case _:
            raise Unproven("it is signed, and says of no run how it went")
    if RESULTS not in subjects or POLICY not in subjects:
        raise Unproven("it is signed, and says nothing of results and policy")
    if (BUNDLE in subjects) != (bundle_file(run_id) in subjects):
        raise Unproven("it is signed, and names half of a bundle")
    try:
        return Certificate(
            run_id, attempt, Verdict(verdict), ExitCode(code), subjects, predicate, key_id
        )
    except ValueError:
        raise Unproven(f"it is signed, and {verdict[:40]!r} ({code}) is no verdict") from None
