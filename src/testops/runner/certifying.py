"""What a finished run proves, taken from its files and its results: the facts of a certificate.

Nothing is believed because it is written down: digests are taken from the content, and what the
record says of the bundle must be what the bundle says of itself. A run that has not finished, and
one whose evidence is missing, changed or of another run, gets no certificate (`NotProven`).

That a record was not forged by whoever may write the disk, nobody can tell: a certificate says
what was there when it was made, and that it was not changed since.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.run import RunState, run_id_of
from testops.domain.verdict import ExitCode, Verdict, worst
from testops.snapshots import read_bundle
from testops.snapshots.bundle import Bundle
from testops.snapshots.canonical import canonical, storable
from testops.warroom.certificate import Certificate, Facts, certify, read_certificate
from testops.warroom.certificate_envelope import Unproven
from testops.warroom.certificate_keys import SigningKey

# What a gate is, and not how it went.
_RULE = (
    *("name", "stage", "metric", "op", "threshold", "severity", "kind", "weight", "key"),
    *("relative", "statistical"),
)
_GATE = (*_RULE, "unit", "verdict", "value", "margin", "source", "reason", "baseline_runs")


class NotProven(Exception):
    """Why a run gets no certificate; one line."""


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate, as it is handed out."""

    raw: bytes
    certificate: Certificate


def certified(
    run: Mapping[str, Any],
    bundle: Path | None,
    key: SigningKey,
    *,
    testops: str,
    question: Mapping[str, Any] | None = None,
) -> Made:
    """The certificate of `run` and of the bundle that it left; see `facts_of`."""
    facts = facts_of(run, bundle, testops=testops, question=question)
    try:
        raw = certify(facts, key)
        return Made(raw, read_certificate(raw, [key.public]))
    except Unproven as error:
        raise NotProven(str(error)) from error


def facts_of(
    run: Mapping[str, Any],
    bundle: Path | None,
    *,
    testops: str,
    question: Mapping[str, Any] | None = None,
) -> Facts:
    """The facts of `run` (its JSON, as it is recorded) and of the bundle that it left.

    `question` is what the run's id must be the hash of, where it was kept.
    """
    try:
        return _facts(run, bundle, testops, question)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise NotProven(f"its record is damaged ({' '.join(said.split())[:200]})") from error


def _facts(
    run: Mapping[str, Any],
    bundle: Path | None,
    testops: str,
    question: Mapping[str, Any] | None,
) -> Facts:
    run_id = str(run["run_id"])
    _require_finished(run)
    if question is not None and run_id_of(canonical(storable(question))) != run_id:
        raise NotProven("its id is not the hash of its question: one of them was changed")
    found = _bundle_of(run, bundle)
    policy = _policy_of(run)
    return Facts(
        run_id=run_id,
        predicate=_predicate(run, policy, testops, found),
        results_sha256=results_sha256(run),
        policy_sha256=_sha256(policy),
        bundle_identity=None if found is None else found.identity,
        bundle_sha256=None if found is None else file_sha256(found.origin),
    )


def results_sha256(run: Mapping[str, Any]) -> str:
    """The digest of a run's results: what its stages measured and its gates said."""
    names = ("run_id", "attempt", "verdict", "exit_code", "stages", "gates")
    return _sha256({name: run[name] for name in names})


def file_sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(value: object) -> str:
    return hashlib.sha256(canonical(storable(value))).hexdigest()


def _require_finished(run: Mapping[str, Any]) -> None:
    state = str(run["state"])
    if state != RunState.FINISHED:
        why = f": {run['reason']}" if run.get("reason") else ""
        raise NotProven(f"it is {state}, and only a finished run proves anything{why}")
    stages = [Verdict(stage["verdict"]) for stage in run["stages"] if stage["verdict"]]
    if not stages:
        raise NotProven("no stage of it has a verdict")
    said = Verdict(run["verdict"])
    if said.blocks and int(run["exit_code"]) == ExitCode.HOLDS:
        raise NotProven(f"its record says {said.value}, and exit code 0")
    if why := _contradiction(said, stages, run["gates"], run.get("score")):
        raise NotProven(f"its record says {said.value}, and {why}")


def _contradiction(
    said: Verdict,
    stages: Sequence[Verdict],
    gates: Sequence[Mapping[str, Any]],
    score: Mapping[str, Any] | None,
) -> str:
    """What in a record speaks against its verdict; judging it again is for who has the rules."""
    every = [*stages, *(Verdict(gate["verdict"]) for gate in gates)]
    if score is None:
        found = worst(every)
        return "" if said is found else f"its stages and gates say {found.value}"
    if said.blocks:
        return ""
    broken_key = any(gate.get("key") and gate["verdict"] == Verdict.FAIL for gate in gates)
    if broken_key or Verdict.INCONCLUSIVE in every:
        return "a key gate of it failed" if broken_key else "something in it is inconclusive"
    least = float(score["pass"] if said is Verdict.PASS else score["warn"])
    value = float(score["value"])
    return "" if value >= least else f"its score is {value:g} of {least:g}"


def _bundle_of(run: Mapping[str, Any], path: Path | None) -> Bundle | None:
    identity = run["bundle_identity"]
    if identity is None:
        ran = [stage["name"] for stage in run["stages"] if stage["state"] == "ran"]
        if "sim" in ran:
            raise NotProven("it simulated, and its record names no bundle")
        return None
    if path is None or not path.is_file():
        raise NotProven(f"its bundle {run['bundle'] or identity} is missing")
    try:
        bundle = read_bundle(path)
    except BadInput as error:
        raise NotProven(f"its bundle is damaged: {error.problem}") from error
    if bundle.identity != identity:
        raise NotProven(
            f"its bundle is not the one that it left (identity {bundle.identity[:16]}, and the "
            f"record says {str(identity)[:16]})"
        )
    _require_same_run(run, bundle)
    return bundle


def _require_same_run(run: Mapping[str, Any], bundle: Bundle) -> None:
    header, seeds = bundle.header, run["seeds"]
    pairs = {
        "profile": (header.profile, run["profile"]),
        "seed": (header.sim_seed, int(seeds["sim"])),
        "chaos seed": (header.chaos_seed, int(seeds["chaos"])),
        "engine": (header.engine_version, run["engine_version"]),
    }
    for what, (own, recorded) in pairs.items():
        if own != recorded:
            raise NotProven(f"its bundle is of {what} {own}, and the record says {recorded}")


def _policy_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """What was demanded: the named policy where there is one, and every rule that was judged."""
    rules = [_rule_of(gate) for gate in run["gates"]]
    named = run.get("policy")
    if named is None:
        return {"rules": rules}
    definition = named.get("definition")
    if definition is not None and _sha256(definition) != named["digest"]:
        raise NotProven(f"its policy {named['name']} is not the one whose digest it names")
    return {"rules": rules, "named": {name: named[name] for name in ("name", "version", "digest")}}


def _rule_of(gate: Mapping[str, Any]) -> dict[str, Any]:
    rule = {name: gate[name] for name in _RULE if name in gate}
    if rule.get("kind", "absolute") != "absolute":
        # What history made of it in this run is a result, not a demand.
        del rule["threshold"]
    return rule


def _predicate(
    run: Mapping[str, Any], policy: Mapping[str, Any], testops: str, bundle: Bundle | None
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "run": {
            "id": run["run_id"],
            "attempt": int(run["attempt"]),
            "suite": run["suite"],
            "profile": run["profile"],
        },
        "verdict": run["verdict"],
        "exitCode": int(run["exit_code"]),
        "reason": run["reason"],
        "stages": [
            {name: stage[name] for name in ("name", "state", "verdict")} for stage in run["stages"]
        ],
        "gates": [{name: gate[name] for name in _GATE if name in gate} for gate in run["gates"]],
        "waivers": _waivers_of(run),
        "policy": policy.get("named"),
        "score": run.get("score"),
        "seeds": dict(run["seeds"]),
        "build": dict(run["build"]),
        "versions": _versions(run, testops, bundle),
        "reproduce": run["reproduce"],
        "startedAt": run["started_at"],
        "finishedAt": run["finished_at"],
    }
    made = storable(said)
    assert isinstance(made, dict)
    return made


def _versions(run: Mapping[str, Any], testops: str, bundle: Bundle | None) -> dict[str, Any]:
    own = {} if bundle is None else {"python": bundle.header.python}
    return {"testops": testops, "engine": run["engine_version"], **own}


def _waivers_of(run: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    return [
        {"gate": gate.get("name") or f"{gate['stage']}.{gate['metric']}", **gate["waiver"]}
        for gate in run["gates"]
        if gate.get("waiver")
    ]
