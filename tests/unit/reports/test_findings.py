"""A finding is known again after the code around it moved, and only then."""

import json
from pathlib import Path

import pytest

from testops.reports.findings import CodeFinding, fingerprinted, with_snippets
from testops.reports.formats.reading import Source
from testops.reports.formats.sarif import read_sarif, write_sarif

SOURCE = "import os\n\n\ndef f():\n    x = 1\n    return 2\n"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(SOURCE)
    return path


def finding(line: int = 5, message: str = "`x` is unused", rule: str = "F841") -> CodeFinding:
    return CodeFinding("ruff", rule, message, "app.py", line, 5)


def prints(root: Path, *found: CodeFinding) -> list[str]:
    return [one.fingerprint for one in fingerprinted(with_snippets(found, root))]


def test_lines_above_and_edits_elsewhere_leave_the_fingerprint(module: Path) -> None:
    before = prints(module.parent, finding())
    module.write_text("# new\n# lines\n" + SOURCE.replace("return 2", "return 3"))
    assert prints(module.parent, finding(line=7)) == before


def test_indenting_the_line_leaves_it_too(module: Path) -> None:
    before = prints(module.parent, finding())
    module.write_text(SOURCE.replace("    x = 1", "        x  = 1").replace("x  =", "x ="))
    assert prints(module.parent, finding()) == before


@pytest.mark.parametrize(
    "changed",
    [finding(message="`y` is unused"), finding(rule="F811"), finding(line=6)],
    ids=["message", "rule", "line's text"],
)
def test_another_finding_has_another_fingerprint(module: Path, changed: CodeFinding) -> None:
    assert prints(module.parent, changed) != prints(module.parent, finding())


def test_a_changed_line_is_a_new_finding(module: Path) -> None:
    before = prints(module.parent, finding())
    module.write_text(SOURCE.replace("x = 1", "x = other()"))
    assert prints(module.parent, finding()) != before


def test_line_numbers_and_addresses_in_messages_do_not_count(tmp_path: Path) -> None:
    one = finding(message="redefines f from line 3 of <f at 0x7f008a36c540>")
    two = finding(message="redefines f from line 9 of <f at 0x7fe112345678>")
    assert prints(tmp_path, one) == prints(tmp_path, two)


def test_equal_lines_in_one_file_are_told_apart_and_keep_their_order(module: Path) -> None:
    module.write_text("x = 1\nx = 1\n")
    first, second = prints(module.parent, finding(1), finding(2))
    assert first != second
    module.write_text("# above\nx = 1\nx = 1\n")
    assert prints(module.parent, finding(2), finding(3)) == [first, second]


def test_duplicates_are_told_once_with_their_number() -> None:
    (one,) = fingerprinted([finding(), finding(), finding()])
    assert one.occurrences == 3


def test_seeds_of_one_cause_are_one_finding() -> None:
    found = fingerprinted(
        CodeFinding("sim", "fail", f"echo at seed {seed}", "sim/echo.py", key="echo fail safety")
        for seed in (3, 1, 2)
    )
    assert [(one.occurrences, one.message) for one in found] == [(3, "echo at seed 1")]


def test_sarif_comes_back_with_its_fingerprints_also_where_the_code_is_gone(module: Path) -> None:
    marked = fingerprinted(with_snippets([finding()], module.parent))
    log = read_sarif(Source("x.sarif", write_sarif(marked).encode()), root=Path("/nowhere"))
    again = fingerprinted(with_snippets(log.found, Path("/nowhere")))
    assert [one.fingerprint for one in again] == [one.fingerprint for one in marked]
    assert again == marked


def test_sarif_of_several_tools_is_deterministic_and_names_rules_and_root() -> None:
    found = fingerprinted(
        [finding(), finding(rule="A1"), CodeFinding("mypy", "e", "m", "b c.py", 1)]
    )
    text = write_sarif(found, tools=["ruff", "mypy", "quiet"])
    assert text == write_sarif(tuple(reversed(found)), tools=["ruff", "mypy", "quiet"])
    runs = json.loads(text)["runs"]
    assert [run["tool"]["driver"]["name"] for run in runs] == ["ruff", "mypy", "quiet"]
    rules = runs[0]["tool"]["driver"]["rules"]
    for result in runs[0]["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    place = runs[1]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "b%20c.py", "uriBaseId": "%SRCROOT%"}
    assert "%SRCROOT%" in runs[0]["originalUriBaseIds"]
    assert runs[2]["results"] == []


def test_a_message_in_the_rule_and_a_base_in_the_run_are_followed() -> None:
    run = {
        "tool": {
            "driver": {
                "name": "t",
                "rules": [
                    {
                        "id": "R1",
                        "messageStrings": {"default": {"text": "no {0} here"}},
                        "defaultConfiguration": {"level": "note"},
                    }
                ],
            }
        },
        "originalUriBaseIds": {"SRC": {"uri": "file:///build/proj/"}},
        "results": [
            {
                "ruleIndex": 0,
                "message": {"id": "default", "arguments": ["goto"]},
                "locations": [
                    {
                        "physicalLocation": {
                            "artifactLocation": {"uri": "src/a%20b.c", "uriBaseId": "SRC"}
                        }
                    }
                ],
            }
        ],
    }
    text = json.dumps({"version": "2.1.0", "runs": [run]})
    (found,) = read_sarif(Source("x", text.encode()), root=Path("/build/proj")).found
    assert (found.rule, found.level, found.message) == ("R1", "note", "no goto here")
    assert found.path == "src/a b.c"
