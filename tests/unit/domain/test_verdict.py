"""The order of verdicts and exit codes is fixed by the design: 2 > 3 > 1 > 4 > 0."""

import pytest

from testops.domain.verdict import ExitCode, Verdict, combine_exit, exit_code_of, worst


@pytest.mark.parametrize(
    ("codes", "answer"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 4], 4),
        ([4, 1], 1),
        ([1, 3, 4], 3),
        ([3, 2, 1, 4], 2),
        ([130, 2], 130),
        ([70, 2, 3], 70),
    ],
)
def test_of_several_exit_codes_the_design_says_which_decides(codes: list[int], answer: int) -> None:
    assert combine_exit(codes) == answer
    assert combine_exit(reversed(codes)) == answer


def test_nothing_judged_is_inconclusive_and_blocks() -> None:
    assert worst([]) is Verdict.INCONCLUSIVE
    assert Verdict.INCONCLUSIVE.blocks


def test_a_failure_outweighs_missing_evidence() -> None:
    assert worst([Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.WARN]) is Verdict.FAIL


def test_only_strict_makes_a_warning_a_failure() -> None:
    assert exit_code_of(Verdict.WARN) is ExitCode.HOLDS
    assert exit_code_of(Verdict.WARN, strict=True) is ExitCode.FAILED
    assert exit_code_of(Verdict.INCONCLUSIVE, strict=True) is ExitCode.INCONCLUSIVE
