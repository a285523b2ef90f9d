"""`testops gates` and `testops waivers`: which rules there are, what they said, that they bite.

What a gate means is said by `warroom`; here it is read, asked and printed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from testops.cli.words import SIGNS
from testops.domain.errors import BadInput
from testops.domain.gate import GateResult, GateRule
from testops.domain.policy import Policy
from testops.domain.suite import Suite
from testops.domain.verdict import ExitCode, Verdict
from testops.domain.waiver import Refused, Waiver, WaiverEntry, waiver_of
from testops.runner.history import FileHistory
from testops.runner.policies import load_policy, policies_of, policy_for, policy_given
from testops.runner.projects import Project, project_around
from testops.runner.record_lookup import run_folder
from testops.runner.records import RunStore
from testops.runner.rejudging import Record, read_record, rejudge
from testops.runner.suites import known_names, load_suite
from testops.runner.waivers import entries, load_waivers, save
from testops.telemetry.clock import SystemClock
from testops.warroom.rules import Rules
from testops.warroom.selftest import selftest
from testops.warroom.waivers import expired

_HELP = {"help_option_names": ["-h", "--help"]}
# Less of it, or nothing as from a variable that is not set, would fit any build.
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_policy_option = click.option("--policy", metavar="NAME", help="Of policies/, not the suite's own.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@dataclass(frozen=True, slots=True)
class _Of:
    """The suite that is asked about, with what judges it."""

    project: Project
    suite: Suite
    rules: Rules

    @property
    def every(self) -> list[GateRule]:
        """The rules of its stages, and those that its policy has beside them."""
        known = self.suite.stages.named()
        rules = [rule for stage in known for rule in self.rules.for_stage(stage)]
        return [*rules, *self.rules.without_stage(known, known)]


def _of(suite: str | None, policy: str | None) -> _Of:
    found = load_suite(suite, working_folder=Path.cwd())
    asked = policy or found.suite.policy
    named = policy_for(asked, found.project, None)
    own = None if named is None else named.policy
    return _Of(found.project, found.suite, Rules.of(found.suite, own))


@click.group(context_settings=_HELP)
def gates() -> None:
    """The rules that decide about a run: list them, ask what they said, show that they bite."""


@gates.command(name="list")
@click.argument("suite", required=False)
@_policy_option
@_json_option
def list_gates(suite: str | None, policy: str | None, as_json: bool) -> None:
    """List the gates of SUITE by name, with what each wants."""
    of = _of(suite, policy)
    if as_json:
        click.echo(json.dumps({"suite": of.suite.name, "gates": [_shown(r) for r in of.every]}))
        return
    for rule in of.every:
        notes = [rule.severity.value, *(["key"] if rule.key else [])]
        if of.rules.policy is not None and rule.weight:
            notes.append(f"weight {rule.weight:g}")
        click.echo(f"{rule.name:<40} {rule.condition}  ({', '.join(notes)})")


def _shown(rule: GateRule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "kind": rule.kind.value,
        "condition": rule.condition,
        "stage": rule.stage.value,
        "metric": rule.metric,
        "op": rule.op.value,
        "threshold": rule.threshold,
        "severity": rule.severity.value,
        "weight": rule.weight,
        "key": rule.key,
    }


@gates.command()
@click.argument("suite", required=False)
@_policy_option
def check(suite: str | None, policy: str | None) -> ExitCode:
    """Check the gates of SUITE, every policy of policies/, and waivers.yaml, without a run."""
    of, now = _of(suite, policy), SystemClock().now()
    for name in known_names(policies_of(of.project)):
        found = load_policy(name, of.project)
        click.echo(f"policy {found.name} version {found.version}: {len(found.gates)} gates")
    names = {rule.name for rule in of.every}
    idle = []
    for waiver in load_waivers(of.project, now):
        if waiver.suite == of.suite.name and waiver.gate not in names:
            idle.append(f"{waiver.shown} names no gate of suite {of.suite.name}")
        elif not waiver.lives(now):
            idle.append(f"{waiver.shown} {expired(waiver, now)}")
    for line in idle:
        click.echo(f"! {line}")
    click.echo(f"suite {of.suite.name}: {len(of.every)} gates are valid")
    return ExitCode.FAILED if idle else ExitCode.HOLDS


@gates.command(name="selftest")
@click.argument("suite", required=False)
@_policy_option
@_json_option
def selftest_command(suite: str | None, policy: str | None, as_json: bool) -> ExitCode:
    """Give every gate of SUITE evidence that it must reject, and must accept.

    Exit 1 when one cannot go red, or can never hold.
    """
    of = _of(suite, policy)
    tried = selftest(of.rules)
    failed = [one for one in tried if one.problem]
    if as_json:
        body = {"suite": of.suite.name, "gates": [one.to_json() for one in tried]}
        click.echo(json.dumps(body))
    else:
        for one in tried:
            sign = SIGNS[Verdict.FAIL if one.problem else Verdict.PASS]
            said = one.problem or f"rejects {one.bad}, accepts {one.good}"
            click.echo(f"{sign} {one.name:<40} {said}")
        click.echo(f"{len(tried) - len(failed)} of {len(tried)} gates can go red")
    return ExitCode.FAILED if failed else ExitCode.HOLDS


@gates.command()
@click.argument("run", metavar="RUN")
@_json_option
def explain(run: str, as_json: bool) -> None:
    """Say why RUN (its id, the beginning of it, or a record file) ended as it did."""
    record = _record_of(run)
    if as_json:
        click.echo(json.dumps({"run_id": record.body["run_id"], "gates": record.body["gates"]}))
        return
    body = record.body
    click.echo(f"run {body['run_id']} attempt {body['attempt']}: {body['verdict']}")
    _print_policy(body)
    _print_gates(record.gates)
    for line in body.get("waivers_unused", ()):
        click.echo(f"! {line}")


def _print_policy(body: Mapping[str, Any]) -> None:
    policy, score = body.get("policy"), body.get("score")
    if policy is not None:
        digest = policy["digest"][:12]
        click.echo(f"policy {policy['name']} version {policy['version']} ({digest})")
    if score is not None:
        click.echo(
            f"score {score['value']:.1f}, passes from {score['pass']:g}, warns from"
            f" {score['warn']:g}"
        )


def _print_gates(results: Sequence[GateResult]) -> None:
    for result in results:
        click.echo(f"{SIGNS[result.verdict]} {result.rule.name:<40} {result.reason}")


def _record_of(run: str) -> Record:
    """The record that `run` names: a file, or the newest attempt of an id."""
    path = Path.cwd() / run
    if path.is_file():
        return read_record(path, shown=run)
    folder = run_folder(project_around(Path.cwd()), run)
    attempts = sorted(
        folder.glob("attempt-*.json"), key=lambda one: int(one.stem.removeprefix("attempt-"))
    )
    if not attempts:
        raise BadInput(f"run {run} has no record", where=str(folder), fix="run it again")
    return read_record(attempts[-1], shown=str(attempts[-1]))


@gates.command()
@click.option(
    "--results", required=True, metavar="RUN|FILE", help="A record: an id, or attempt-N.json."
)
@click.option("--suite", metavar="NAME|FILE", help="Whose gates; default: the suite of the record.")
@click.option("--policy", metavar="NAME|FILE", help="Default: the one that judged the record.")
@click.option("--commit", metavar="SHA", help="What is of another build proves nothing.")
@_json_option
def evaluate(
    results: str, suite: str | None, policy: str | None, commit: str | None, as_json: bool
) -> ExitCode:
    """Judge a recorded run again: by the suite as it is now, or by another policy."""
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise BadInput(
            f"{commit!r} is no commit, or too little of one",
            where="--commit",
            fix="give its name in hex, at least 7 digits of it",
        )
    record = _record_of(results)
    found = load_suite(suite or record.body["suite"], working_folder=Path.cwd())
    rules = Rules.of(found.suite, _policy_for(policy, record, found.suite, found.project))
    clock = SystemClock()
    done = rejudge(
        record,
        rules,
        history=FileHistory(RunStore(found.project)),
        waivers=load_waivers(found.project, clock.now()),
        clock=clock,
        commit=commit,
    )
    if as_json:
        click.echo(json.dumps(done.to_json(record)))
    else:
        _print_gates(done.gates)
        for line in done.waivers_unused:
            click.echo(f"! {line}")
        score = "" if done.judgement.score is None else f", score {done.judgement.score.value:.1f}"
        then = record.body["verdict"]
        click.echo(f"{done.judgement.verdict.value}{score} (it was {then})")
    return done.judgement.exit_code


def _policy_for(asked: str | None, record: Record, suite: Suite, project: Project) -> Policy | None:
    if asked is not None:
        path = Path.cwd() / asked
        return policy_in(path, shown=asked) if path.is_file() else load_policy(asked, project)
    if record.definition is not None:
        return policy_given(record.definition)
    named = policy_for(suite.policy, project, None)
    return None if named is None else named.policy


def policy_in(path: Path, *, shown: str) -> Policy:
    """The policy in a file anywhere."""
    from testops.runner.documents import read_document
    from testops.runner.suites import validate

    return validate(Policy, read_document(path, shown=shown))


@click.group(context_settings=_HELP)
def waivers() -> None:
    """Gates that may fail for a while: who answers for each, why, and until when (waivers.yaml)."""


@waivers.command(name="list")
@_json_option
def list_waivers(as_json: bool) -> None:
    """List the waivers of this project, and how long each still holds."""
    project, now = project_around(Path.cwd()), SystemClock().now()
    found = load_waivers(project, now)
    if as_json:
        body = [{**one.to_json(), "state": _state(one)} for one in found]
        click.echo(json.dumps({"waivers": body}))
        return
    for one in found:
        limit = "" if one.up_to is None else f" up to {one.up_to:g}"
        state = f"until {one.expires}" if one.lives(now) else expired(one, now)
        click.echo(f"{one.suite}  {one.gate}{limit}  {one.owner}  {state}  {one.reason}")


def _state(one: Waiver) -> str:
    return "active" if one.lives(SystemClock().now()) else "expired"


@waivers.command()
@click.argument("suite")
@click.argument("gate")
@click.option("--owner", required=True, metavar="NAME", help="The person who answers for it.")
@click.option("--reason", required=True, metavar="TEXT")
@click.option("--expires", required=True, metavar="TIME", help="RFC 3339, at most 90 days away.")
@click.option("--up-to", type=float, help="Only while the value is no worse than this.")
@click.option("--ticket", metavar="ID")
@_policy_option
def add(suite: str, gate: str, policy: str | None, **said: Any) -> None:
    """Waive GATE of SUITE for a while: its failure is a warning that says who and why.

    --policy names the policy whose gate it is, when runs name that and the suite does not.
    """
    of, now = _of(suite, policy), SystemClock().now()
    names = sorted(rule.name for rule in of.every)
    if gate not in names:
        raise BadInput(
            f"suite {of.suite.name} has no gate {gate!r}", fix=f"its gates: {', '.join(names)}"
        )
    entry = _entry(suite=of.suite.name, gate=gate, **said)
    try:
        new = waiver_of(entry, now)
    except Refused as error:
        raise BadInput(str(error), where=f"--{error.field}", fix="correct it") from error
    if not new.lives(now):
        raise BadInput("that is in the past", where="--expires", fix="give a time to come")
    path = save(of.project, [*entries(of.project), entry])
    click.echo(f"{new.shown} holds until {new.expires}; commit {of.project.shown(path)}")


def _entry(**said: Any) -> WaiverEntry:
    from pydantic import ValidationError

    try:
        return WaiverEntry(**{name: value for name, value in said.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = f"--{'-'.join(map(str, first['loc']))}"
        raise BadInput(first["msg"], where=where, fix="correct it") from error


@waivers.command()
@click.argument("suite")
@click.argument("gate")
def remove(suite: str, gate: str) -> None:
    """Remove the waivers of GATE of SUITE."""
    project = project_around(Path.cwd())
    known = entries(project)
    kept = [one for one in known if (one.suite, one.gate) != (suite, gate)]
    if len(kept) == len(known):
        raise BadInput(
            f"there is no waiver for {gate} of suite {suite}", fix="see them: testops waivers list"
        )
    path = save(project, kept)
    click.echo(f"removed {len(known) - len(kept)} from {project.shown(path)}")
