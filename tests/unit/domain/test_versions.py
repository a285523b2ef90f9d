"""The matrix is read to the last cell, or not at all; what no row names together is refused."""

from dataclasses import replace

import pytest

from testops.domain.errors import BadInput
from testops.domain.versions import (
    Combination,
    Matrix,
    Row,
    Unqualified,
    matrix_of,
    row_text,
)

HEAD = (
    "| testops | UI | runner | API | database | engine | bundle schema | suite schema | Python "
    "| baselines approved for | qualified by |"
)
RULE = "|---|---|---|---|---|---|---|---|---|---|---|"
OLD = (
    "| 0.1 | none | 0.1 | v1 | 0001, flow-1 | toron-v2.5H+.2 | 1 | 1 | 3.11, 3.12 | minor 2 "
    "| run 0123456789abcdef (0.1.0) |"
)
NEW = (
    "| 0.2 | 0.1, 0.2 | 0.1, 0.2 | v1 | 0002, flow-1 | toron-v2.5H+.3 | 1, 2 | 1 | 3.12 | minor 3 "
    "| not released |"
)
HERE = Combination("0.2", "0.2", "toron-v2.5H+.3", 2, 1, "3.12")


def document(*rows: str, head: str = HEAD, rule: str = RULE) -> str:
    return "\n".join(["# Versions", "", head, rule, *rows, "", "More text | with a bar."])


MATRIX = matrix_of(document(OLD, NEW))


def test_every_cell_is_read() -> None:
    old, new = MATRIX.rows

    assert old == Row(
        "0.1",
        (),
        ("0.1",),
        "v1",
        "0001, flow-1",
        "toron-v2.5H+.2",
        (1,),
        (1,),
        ("3.11", "3.12"),
        "minor 2",
        "run 0123456789abcdef (0.1.0)",
    )
    assert old.is_released
    assert (new.uis, new.bundle_schemas, new.is_released) == (("0.1", "0.2"), (1, 2), False)
    assert [row_text(row) for row in MATRIX.rows] == [OLD, NEW]


def test_what_is_in_one_row_is_qualified() -> None:
    assert MATRIX.require(HERE).testops == "0.2"
    assert MATRIX.require(replace(HERE, runner="0.1", bundle_schema=1, ui="0.1")).testops == "0.2"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"testops": "0.3"}, "testops 0.3"),
        ({"runner": "0.3"}, "runner 0.3"),
        ({"engine": "toron-v2.5H+.2"}, "engine toron-v2.5H+.2"),
        ({"bundle_schema": 3}, "bundle schema 3"),
        ({"suite_schema": 2}, "suite schema 2"),
        ({"python": "3.14"}, "Python 3.14"),
        ({"ui": "0.3"}, "UI 0.3"),
        # Each in a row, and no row has both.
        ({"testops": "0.1"}, "testops 0.1 × runner 0.2 × engine toron-v2.5H+.3"),
    ],
)
def test_what_no_row_names_together_is_refused_with_the_missing_row(
    changes: dict[str, object], named: str
) -> None:
    with pytest.raises(Unqualified) as refused:
        MATRIX.require(replace(HERE, **changes))  # type: ignore[arg-type]

    assert named in str(refused.value)
    assert "no row of the compatibility matrix has" in str(refused.value)
    assert "testops versions" in refused.value.fix


def test_a_dashboard_is_qualified_with_the_server_that_runs() -> None:
    MATRIX.require_ui("0.1", HERE)
    for asked in ("0.3", "", "0.1, 0.2", "none", "0.1.0", "x" * 5000):
        with pytest.raises(Unqualified, match=r"UI .* × testops 0\.2") as refused:
            MATRIX.require_ui(asked, HERE)
        assert len(str(refused.value)) < 400
    # A row without any refuses every dashboard, also one that calls itself `none`.
    first = replace(HERE, testops="0.1", engine="toron-v2.5H+.2")
    for asked in ("0.1", "none"):
        with pytest.raises(Unqualified):
            MATRIX.require_ui(asked, first)


def test_bundles_are_held_together_when_one_row_has_both() -> None:
    new, old = ("toron-v2.5H+.3", 2), ("toron-v2.5H+.2", 1)
    MATRIX.require_comparable(new, new)
    MATRIX.require_comparable(("toron-v2.5H+.3", 1), new)
    MATRIX.require_comparable(old, old)
    MATRIX.require_comparable(None, new)
    for base, target, named in (
        (old, new, "engine toron-v2.5H+.2 × bundle schema 1 with engine toron-v2.5H+.3"),
        (new, old, "with engine toron-v2.5H+.2 × bundle schema 1"),
        (new, ("toron-v2.5H+.3", 3), "bundle schema 3"),
        (None, ("toron-v2.5H+.9", 1), "engine toron-v2.5H+.9"),
    ):
        with pytest.raises(Unqualified) as refused:
            MATRIX.require_comparable(base, target)
        assert named in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 tables"),
        (document(OLD) + "\n\n" + document(OLD), "2 tables"),
        (document(OLD, head=HEAD.replace("| UI ", "")), "0 tables"),
        (document(OLD, head=HEAD.replace("UI", "Ui")), "0 tables"),
        (document(), "no rows"),
        (document(OLD, rule=OLD), "no rows"),
        (document(OLD.replace("| none ", "")), "10 cells"),
        (document(OLD.removesuffix("|")), "11 cells"),
        (document(OLD.replace("| none ", "| ? ")), "'UI'"),
        (document(OLD.replace("| 0.1 ", "| 0.1.0 ", 1)), "'testops'"),
        (document(OLD.replace("toron-v2.5H+.2", "toron-v2.5H+.02")), "'engine'"),
        (document(OLD.replace("| 1 | 1 |", "| one | 1 |")), "'bundle schema'"),
        (document(OLD.replace("| 1 | 1 |", "| 1,2 | 1 |")), "'bundle schema'"),
        (document(OLD.replace("run 0123456789abcdef (0.1.0)", "us")), "'qualified by'"),
        (document(OLD.replace("run 0123456789abcdef (0.1.0)", "")), "'qualified by'"),
        (document(NEW, OLD), "only the last"),
        (document(OLD, OLD), "twice"),
        (document(*[OLD] * 600), "no rows"),
    ],
)
def test_a_matrix_that_cannot_be_read_whole_is_an_error(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=r"VERSIONING_AND_RELEASE_NOTES\.md") as refused:
        matrix_of(text)
    assert said in str(refused.value)


def test_an_empty_matrix_qualifies_nothing() -> None:
    with pytest.raises(Unqualified):
        Matrix(()).require(HERE)
