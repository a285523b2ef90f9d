"""Who may approve, how many it takes, and how deterministic a new engine minor has to be."""

from pathlib import Path

import pytest

from testops.domain.errors import BadInput
from testops.snapshots.review_rules import ReviewRules, rules_for


def rules(tmp_path: Path, text: str, suite: str = "shop") -> ReviewRules:
    (tmp_path / "review.yaml").write_text(text)
    return rules_for(tmp_path, suite)


def test_without_a_file_one_person_approves_whoever_it_is(tmp_path: Path) -> None:
    assert rules_for(tmp_path, "shop") == ReviewRules(1, None, 98.0)


def test_a_suite_may_differ_from_the_rest(tmp_path: Path) -> None:
    text = (
        "version: 1\napprovals: 2\npeople: [Ada, Bob]\n"
        "suites:\n  shop: {approvals: 1, determinism_percent: 99.5}\n"
    )
    assert rules(tmp_path, text) == ReviewRules(1, ("Ada", "Bob"), 99.5)
    assert rules(tmp_path, text, "other") == ReviewRules(2, ("Ada", "Bob"), 98.0)


def test_a_person_is_allowed_however_the_name_is_spelled(tmp_path: Path) -> None:
    found = rules(tmp_path, "version: 1\npeople: [Ada Lovelace]\n")
    found.require_person(" ada  LOVELACE", "shop")
    with pytest.raises(BadInput, match=r"bob may not decide.*ask one of Ada Lovelace"):
        found.require_person("bob", "shop")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("approvals: 2\n", "/version: is None"),
        ("version: 2\n", "/version: is 2"),
        ("version: true\n", "/version: is True"),
        ("[]\n", "is not a mapping"),
        ("version: 1\napproval: 2\n", "/approval: is an unknown field"),
        ("version: 1\napprovals: 0\n", "/approvals: is 0, not a whole number from 1"),
        ("version: 1\napprovals: yes\n", "/approvals: is True"),
        ("version: 1\napprovals: 2\napprovals: 1\n", "'approvals' is there twice"),
        ("version: 1\npeople: []\n", "/people: is not a list of 1"),
        ("version: 1\npeople: [1]\n", "/people/0: is not a name"),
        ("version: 1\npeople: [ada, ' ADA']\n", "/people/1: ' ADA' is the same person as 'ada'"),
        ("version: 1\napprovals: 2\npeople: [ada]\n", "asks for 2 approvals, and people names 1"),
        ("version: 1\ndeterminism_percent: 97.9\n", "is 97.9, not a number from 98 to 100"),
        ("version: 1\ndeterminism_percent: .nan\n", "is nan, not a number from 98"),
        ("version: 1\ndeterminism_percent: '99'\n", "is '99', not a number"),
        ("version: 1\nsuites: {other: {approvals: -1}}\n", "/suites/other/approvals: is -1"),
        ("version: 1\nsuites: {other: 2}\n", "/suites/other: is not a mapping"),
        ("version: 1\nsuites: [shop]\n", "/suites: is not a mapping of suite names"),
    ],
)
def test_a_slip_in_the_file_is_refused_with_its_field_and_the_fix(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(BadInput, match=r"review\.yaml.*; write \{version: 1") as refused:
        rules(tmp_path, text)
    assert problem in str(refused.value)
