"""`testops certificate` and `testops verify-certificate`: what a run proves, and whether it does.

Verifying needs the certificate and a public key, and nothing else: no project, no database, no
network.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode, Verdict

if TYPE_CHECKING:
    from testops.warroom.certificate import Certificate

_GATES_SHOWN_MAX = 20
_data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="The data directory; default: TESTOPS_DATA, or .testops/ of the project.",
)
_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and no text."
)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def certificate() -> None:
    """Sign what a run proves, for those who cannot look into this project."""


@certificate.command()
@_json_option
@_data_option
def key(as_json: bool, data: Path | None) -> None:
    """Print the public key, and its id; the first time, draw the key that signs.

    The private one stays in the data directory (certificate.key), or is the file that
    TESTOPS_SIGNING_KEY names. Give the public one to everybody who verifies.
    """
    from testops.wiring import certificates

    kept = certificates.kept_key(
        certificates.data_of(Path.cwd(), os.environ, data), os.environ, may_draw=True
    )
    public = kept.key.public
    if as_json:
        shown = {"key_id": public.key_id, "public_key": public.pem, "drawn": kept.drawn}
        click.echo(json.dumps({**shown, "private_key_file": str(kept.path)}, indent=2))
        return
    done = "drawn now, and kept in" if kept.drawn else "kept in"
    click.echo(f"the private key is {done} {kept.path}; never give it away", err=True)
    click.echo(f"key id {public.key_id}", err=True)
    click.echo(public.pem, nl=False)


@certificate.command()
@click.argument("run", metavar="RUN")
@click.option("--out", type=_FILE, help="Where to; default: reports/certificate-<run>.json.")
@_json_option
@_data_option
def create(run: str, out: Path | None, as_json: bool, data: Path | None) -> ExitCode:
    """Certify RUN, an id that `testops run` printed here, or its beginning.

    Every digest is taken from the files anew. A run that has not finished, or whose record or
    bundle is missing or damaged, gets none (exit 4).
    """
    from testops.runner.certifying import NotProven
    from testops.runner.files import write_atomically
    from testops.runner.projects import project_around
    from testops.wiring import certificates

    try:
        made = certificates.create(
            run,
            folder=Path.cwd(),
            data=certificates.data_of(Path.cwd(), os.environ, data),
            environment=os.environ,
        )
    except NotProven as error:
        return _refused(f"run {run} gets no certificate: {error}", as_json, ExitCode.INCONCLUSIVE)
    found = made.certificate
    project = project_around(Path.cwd())
    target = out or project.reports / f"certificate-{found.run_id}.json"
    write_atomically(target, made.raw)
    if as_json:
        click.echo(json.dumps({"file": str(target), **_body(found)}, indent=2, ensure_ascii=False))
        return ExitCode.HOLDS
    click.echo(f"certified: run {found.run_id}, {found.verdict.value.upper()}")
    shown_at = project.shown(target)
    click.echo(f"wrote {shown_at}")
    click.echo(f"verify it with: testops verify-certificate {shown_at} --key PUBLIC_KEY_FILE")
    return ExitCode.HOLDS


@click.command(name="verify-certificate")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--key", "key_file", type=_FILE, help="The public key of whoever signed it (PEM).")
@click.option("--bundle", type=click.Path(path_type=Path), help="Check this bundle as well.")
@click.option("--results", type=_FILE, help="Check the results in this run JSON as well.")
@click.option(
    "--require",
    type=click.Choice(["pass", "warn"]),
    help="The verdict must be this, or better: else exit 1.",
)
@_json_option
def verify_certificate(
    file: Path,
    key_file: Path | None,
    bundle: Path | None,
    results: Path | None,
    require: str | None,
    as_json: bool,
) -> ExitCode:
    """Check FILE (`-`: standard input), offline: exit 0 when not a byte of it was changed, else 1.

    Exit 0 says that the certificate is genuine, whatever its verdict is; --require pass demands
    the verdict as well.
    """
    from testops.warroom.certificate_envelope import Unproven
    from testops.wiring import certificates

    if key_file is None:
        raise BadInput(
            "a certificate is believed only because of a key that you trust",
            where="--key",
            fix="give the signer's public key: testops verify-certificate FILE --key KEY.pem "
            "(`testops certificate key` prints it where it was signed, GET /v1/certificate-keys "
            "on a server)",
        )
    public = certificates.read_public(key_file)
    try:
        found = certificates.verify(file, [public])
        if bundle is not None:
            certificates.require_bundle(found, bundle)
        if results is not None:
            certificates.require_results(found, results)
        _require(found, require)
    except Unproven as error:
        return _refused(f"{file}: {error}", as_json, ExitCode.FAILED)
    if as_json:
        checked = {"bundle": bundle is not None, "results": results is not None}
        body = {"valid": True, **_body(found), "checked": checked}
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        click.echo(shown(found, bundle, results))
    return ExitCode.HOLDS


def _require(found: "Certificate", wanted: str | None) -> None:
    from testops.warroom.certificate_envelope import Unproven

    allowed = {"pass": [Verdict.PASS], "warn": [Verdict.PASS, Verdict.WARN]}
    if wanted is not None and found.verdict not in allowed[wanted]:
        raise Unproven(
            f"it is genuine, and its verdict is {found.verdict.value}, not {wanted}"
            f"{_because(found)}"
        )


def _because(found: "Certificate") -> str:
    reason = _line(found.predicate["reason"])
    return f" ({reason})" if reason else ""


def _refused(why: str, as_json: bool, code: ExitCode) -> ExitCode:
    if as_json:
        said = {"valid": False, "reason": why, "exit_code": int(code)}
        click.echo(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        click.echo(f"error: {why}", err=True)
    return code


def _body(found: "Certificate") -> dict[str, Any]:
    return {
        "run_id": found.run_id,
        "attempt": found.attempt,
        "verdict": found.verdict.value,
        "run_exit_code": int(found.exit_code),
        "key_id": found.key_id,
        "digests": dict(found.subjects),
        "predicate": dict(found.predicate),
    }


def shown(found: "Certificate", bundle: Path | None, results: Path | None) -> str:
    """What a person reads of a certificate that was believed."""
    said = found.predicate
    run, build, versions = said["run"], said["build"], said["versions"]
    changed = " with changes that no commit has" if build.get("dirty") else ""
    lines = [
        f"genuine: signed with the key {found.key_id[:16]}, and not changed since",
        f"verdict {found.verdict.value.upper()} (exit {int(found.exit_code)}){_because(found)}",
        f"run {found.run_id} attempt {found.attempt}: suite {run.get('suite')}, profile "
        f"{run.get('profile')}, seeds {said['seeds'].get('sim')}/{said['seeds'].get('chaos')}",
        f"build {build.get('commit') or build.get('version') or 'of no commit'}{changed}",
        f"engine {versions.get('engine')}, testops {versions.get('testops')}, finished "
        f"{said['finishedAt']}",
        *_stages(said),
        *_gates(said),
        *_digests(found, bundle, results),
        f"reproduce: {said['reproduce']}",
    ]
    return "\n".join(_line(line) for line in lines)


def _stages(said: Any) -> list[str]:
    asked = [stage for stage in said["stages"] if stage.get("verdict") is not None]
    left = [str(one.get("name")) for one in said["stages"] if one.get("state") == "not_asked"]
    each = ", ".join(f"{stage.get('name')} {stage['verdict']}" for stage in asked)
    return [f"stages: {each}{'; not asked: ' + ', '.join(left) if left else ''}"]


def _gates(said: Any) -> list[str]:
    gates = said["gates"]
    held = sum(gate.get("verdict") == "pass" for gate in gates)
    other = [gate for gate in gates if gate.get("verdict") != "pass"]
    more = len(other) - _GATES_SHOWN_MAX
    return [
        f"gates: {held} of {len(gates)} hold",
        *(
            f"  {gate.get('verdict')}: {gate.get('stage')}: {gate.get('reason')}"
            for gate in other[:_GATES_SHOWN_MAX]
        ),
        *([f"  and {more} more (--json shows all)"] if more > 0 else []),
        *(
            f"  waived: {one.get('gate')} by {one.get('owner')} until {one.get('expires')}: "
            f"{one.get('reason')}"
            for one in said["waivers"]
        ),
    ]


def _digests(found: "Certificate", bundle: Path | None, results: Path | None) -> list[str]:
    if found.bundle_identity is None:
        lines = ["bundle: none, this run simulated nothing"]
    else:
        how = f"is {bundle}" if bundle else "was not looked at here (--bundle FILE)"
        lines = [f"bundle {found.bundle_identity} {how}"]
    how = f"are those of {results}" if results else "were not looked at here (--results FILE)"
    return [*lines, f"results {found.subjects['results']} {how}"]


def _line(text: Any) -> str:
    """One line that a terminal only shows."""
    kept = (letter if letter.isprintable() else " " for letter in str(text))
    return "".join(kept).rstrip()
