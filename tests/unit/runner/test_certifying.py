"""A certificate is about the files: what is missing, changed or of another run gets none."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.finished import (
    RUN_ID,
    Finished,
    finished_project,
    gate,
    write_run_bundle,
)

from testops.domain.run import run_id_of
from testops.runner.certifying import NotProven, certified, facts_of, results_sha256
from testops.snapshots.canonical import canonical, storable
from testops.warroom.certificate import Facts
from testops.warroom.certificate_keys import draw_private_pem, signing_key


@pytest.fixture
def finished(tmp_path: Path) -> Finished:
    return finished_project(tmp_path / "shop")


def facts(finished: Finished, **changes: Any) -> Facts:
    return facts_of(finished.record | changes, finished.bundle, testops="0.1.0")


def test_the_facts_are_those_of_the_files(finished: Finished) -> None:
    found = facts(finished)

    assert found.bundle_identity == finished.record["bundle_identity"]
    assert found.results_sha256 == results_sha256(finished.record)
    said = found.predicate
    assert (said["verdict"], said["exitCode"]) == ("pass", 0)
    # A double cannot hold it, and JSON elsewhere has nothing else.
    assert said["seeds"] == {"sim": "18446744073709551615", "chaos": 7}
    assert said["gates"][0]["reason"] == "determinism_percent is 100 (>= 98)"
    assert said["stages"][2] == {"name": "load", "state": "not_in_suite", "verdict": None}
    assert said["versions"] == {"testops": "0.1.0", "engine": "toron-v2.5H+.2", "python": "3.11"}
    assert said["reproduce"].startswith("testops run core --seed")


@pytest.mark.parametrize("state", ["queued", "running", "cancelled", "errored"])
def test_a_run_that_has_not_finished_proves_nothing(finished: Finished, state: str) -> None:
    with pytest.raises(NotProven, match=f"it is {state}"):
        facts(finished, state=state)


def test_a_failed_run_is_certified_as_failed(finished: Finished) -> None:
    stages = finished.record["stages"]
    stages[0]["verdict"] = "fail"
    found = facts(finished, stages=stages, verdict="fail", exit_code=1, reason="lint: 3 errors")

    assert (found.predicate["verdict"], found.predicate["reason"]) == ("fail", "lint: 3 errors")


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_a_run_that_blocks_and_says_exit_code_0_is_refused(
    finished: Finished, verdict: str
) -> None:
    stages = finished.record["stages"]
    stages[0]["verdict"] = verdict
    with pytest.raises(NotProven, match=f"says {verdict}, and exit code 0"):
        facts(finished, stages=stages, verdict=verdict, exit_code=0)


@pytest.mark.parametrize("verdict", ["fail", "inconclusive", "warn"])
def test_a_record_that_passes_over_what_did_not_is_refused(
    finished: Finished, verdict: str
) -> None:
    stages = finished.record["stages"]
    stages[0]["verdict"] = verdict
    with pytest.raises(NotProven, match=f"says pass, and its stages and gates say {verdict}"):
        facts(finished, stages=stages)
    with pytest.raises(NotProven, match=f"says pass, and its stages and gates say {verdict}"):
        facts(finished, gates=[gate("determinism_percent", verdict)])
    with pytest.raises(NotProven, match="says warn, and its stages and gates say pass"):
        facts(finished, verdict="warn")


def test_by_a_score_what_counts_is_the_score_and_what_is_key(finished: Finished) -> None:
    stages = finished.record["stages"]
    stages[0]["verdict"] = "fail"
    score = {"value": 90.0, "pass": 85.0, "warn": 70.0}
    minor = [gate("a"), gate("b", "fail", weight=0.1, key=False)]
    found = facts(finished, stages=stages, gates=minor, score=score)
    assert (found.predicate["verdict"], found.predicate["score"]) == ("pass", score)

    for changes, said in (
        ({"score": score | {"value": 84.9}}, "its score is 84.9 of 85"),
        ({"score": score | {"value": 60.0}, "verdict": "warn"}, "its score is 60 of 70"),
        ({"gates": [gate("a"), gate("b", "fail", key=True)]}, "a key gate of it failed"),
        ({"gates": [gate("a"), gate("b", "inconclusive")]}, "something in it is inconclusive"),
    ):
        with pytest.raises(NotProven, match=said):
            facts(finished, **({"stages": stages, "gates": minor, "score": score} | changes))


def test_a_missing_bundle_is_no_evidence(finished: Finished) -> None:
    finished.bundle.unlink()
    with pytest.raises(NotProven, match="is missing"):
        facts(finished)
    with pytest.raises(NotProven, match="is missing"):
        facts_of(finished.record, None, testops="0.1.0")


def test_a_damaged_bundle_is_no_evidence(finished: Finished) -> None:
    raw = bytearray(finished.bundle.read_bytes())
    raw[len(raw) // 2] ^= 1
    finished.bundle.write_bytes(raw)
    with pytest.raises(NotProven, match="its bundle is damaged"):
        facts(finished)


def test_the_bundle_of_another_behaviour_is_no_evidence(finished: Finished) -> None:
    write_run_bundle(finished.bundle, digest="b" * 64)
    with pytest.raises(NotProven, match="not the one that it left"):
        facts(finished)


def test_a_bundle_that_is_not_of_what_the_record_says_is_no_evidence(finished: Finished) -> None:
    """The identity alone could have been copied into the record with the bundle."""
    identity = write_run_bundle(finished.bundle, engine="toron-v2.5H+.9")
    with pytest.raises(NotProven, match=r"of engine toron-v2\.5H\+\.9"):
        facts(finished, bundle_identity=identity)
    write_run_bundle(finished.bundle)
    with pytest.raises(NotProven, match="of seed 18446744073709551615"):
        facts(finished, seeds={"sim": 1, "chaos": 7})


def test_a_simulation_without_a_bundle_is_no_evidence(finished: Finished) -> None:
    with pytest.raises(NotProven, match="names no bundle"):
        facts(finished, bundle_identity=None)


def test_a_run_that_simulated_nothing_has_no_bundle_to_prove(finished: Finished) -> None:
    stages = [stage for stage in finished.record["stages"] if stage["name"] != "sim"]
    found = facts(finished, bundle_identity=None, bundle=None, stages=stages, gates=[])

    assert (found.bundle_identity, found.bundle_sha256) == (None, None)


@pytest.mark.parametrize("name", sorted({"stages", "gates", "verdict", "seeds", "build"}))
def test_a_record_with_a_hole_is_damaged(finished: Finished, name: str) -> None:
    record = finished.record
    del record[name]
    with pytest.raises(NotProven, match="record is damaged"):
        facts_of(record, finished.bundle, testops="0.1.0")
    with pytest.raises(NotProven, match="record is damaged"):
        facts_of(record | {name: 7}, finished.bundle, testops="0.1.0")


def test_the_id_must_be_the_hash_of_the_question(finished: Finished) -> None:
    question = {"suite": {"name": "core"}, "stages": ["sim"]}
    run_id = run_id_of(canonical(storable(question)))
    record = finished.record | {"run_id": run_id}
    bundle = finished.bundle.with_name(f"run-{run_id}.tar.gz")
    shutil.copyfile(finished.bundle, bundle)

    facts_of(record, bundle, testops="0.1.0", question=question)
    with pytest.raises(NotProven, match="not the hash of its question"):
        facts_of(record, bundle, testops="0.1.0", question=question | {"stages": ["lint"]})


def test_every_result_and_every_rule_moves_its_digest(finished: Finished) -> None:
    first = facts(finished)
    other = facts(finished, gates=[gate("determinism_percent", value=99.0)])
    assert other.results_sha256 != first.results_sha256
    assert other.policy_sha256 == first.policy_sha256
    stricter = facts(finished, gates=[gate("determinism_percent", threshold=100)])
    assert stricter.policy_sha256 != first.policy_sha256
    named = facts(finished, policy={"name": "strict", "version": 2, "digest": "d" * 64})
    assert named.policy_sha256 != first.policy_sha256
    assert named.predicate["policy"] == {"name": "strict", "version": 2, "digest": "d" * 64}
    # What history made of a relative rule is a result; that it is relative, and how, is the rule.
    relative = [
        gate("p99", kind="relative", threshold=number, relative={"percent": percent})
        for number, percent in ((100, 110), (200, 110), (100, 120))
    ]
    digests = [facts(finished, gates=[one]).policy_sha256 for one in relative]
    assert digests[0] == digests[1] != digests[2]


def test_a_policy_is_the_one_whose_digest_it_names(finished: Finished) -> None:
    definition = {"name": "strict", "gates": []}
    digest = hashlib.sha256(canonical(storable(definition))).hexdigest()
    policy = {"name": "strict", "version": 2, "digest": digest, "definition": definition}
    found = facts(finished, policy=policy)
    assert found.predicate["policy"] == {"name": "strict", "version": 2, "digest": digest}
    with pytest.raises(NotProven, match="policy strict is not the one"):
        facts(finished, policy=policy | {"definition": {"name": "lax", "gates": []}})


def test_waivers_stand_in_the_certificate(finished: Finished) -> None:
    waiver = {"owner": "ada", "reason": "flaky host", "expires": "2026-12-01"}
    stages = finished.record["stages"]
    stages[1]["verdict"] = "warn"
    waived = [gate("determinism_percent", "warn", waiver=waiver)]
    found = facts(finished, stages=stages, gates=waived, verdict="warn")

    assert found.predicate["waivers"] == [{"gate": "sim.determinism_percent", **waiver}]


def test_the_same_run_is_certified_with_the_same_bytes(finished: Finished) -> None:
    key = signing_key(draw_private_pem())
    made = [certified(finished.record, finished.bundle, key, testops="0.1.0") for _ in range(2)]
    assert made[0].raw == made[1].raw
    assert made[0].certificate.run_id == RUN_ID
