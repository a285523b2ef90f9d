"""Kernels, seeds and tokens as text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toron.core.choices import SEED_MAX
from toron.errors import BadKernel
from toron.search.references import (
    Token,
    kernel_names,
    load_module,
    parse_seed,
    parse_seed_range,
    project_root,
    split_reference,
)

TOKENS = st.builds(
    Token,
    file=st.text(min_size=1),
    name=st.text(min_size=1),
    sim_seed=st.integers(0, SEED_MAX),
    chaos_seed=st.integers(0, SEED_MAX),
    digest=st.text("0123456789abcdef"),
    source=st.text("0123456789abcdef"),
    strategy=st.sampled_from(["random", "portfolio"]),
    tape=st.none() | st.lists(st.tuples(st.text(), st.integers(1))).map(tuple),
    reseeds=st.lists(st.tuples(st.integers(0), st.integers(0))).map(tuple),
    cause=st.text("0123456789abcdef"),
)


@given(TOKENS)
def test_a_token_is_read_as_it_was_written_and_needs_no_quotes(token: Token) -> None:
    text = token.encode()
    assert Token.decode(text) == token
    assert text.replace("-", "").replace("_", "").isalnum()


@given(TOKENS, st.data())
def test_a_token_with_one_other_character_is_refused(token: Token, data: st.DataObject) -> None:
    text = token.encode()
    at = data.draw(st.integers(0, len(text) - 2))  # the last one may hold unused bits
    other = "A" if text[at] != "A" else "B"
    with pytest.raises(BadKernel):
        Token.decode(text[:at] + other + text[at + 1 :])


@given(TOKENS, st.data())
def test_a_token_that_was_cut_is_refused(token: Token, data: st.DataObject) -> None:
    text = token.encode()
    with pytest.raises(BadKernel):
        Token.decode(text[: data.draw(st.integers(0, len(text) - 2))])


@pytest.mark.parametrize("text", ["", "t1-", "t1-AAAA", "t1-!!!!", "t2-x", "t1-é", "hello"])
def test_what_is_no_token_is_bad_input(text: str) -> None:
    with pytest.raises(BadKernel):
        Token.decode(text)


@given(st.integers(0, SEED_MAX))
def test_a_seed_is_read_as_number_and_as_text(seed: int) -> None:
    assert parse_seed(seed, "x") == parse_seed(str(seed), "x") == seed


@pytest.mark.parametrize("text", ["-1", "", "x", "1.0", "1e3", "0x1", str(SEED_MAX + 1), -1])
def test_a_bad_seed_names_its_field(text: str | int) -> None:
    with pytest.raises(BadKernel, match=r"^--seed .* must be a whole number from 0 to 2\^64-1"):
        parse_seed(text, "--seed")


@pytest.mark.parametrize(
    ("text", "seeds"), [("0:3", [0, 1, 2]), ("7:8", [7]), ("5", [5]), (":2", [0, 1])]
)
def test_a_range_is_half_open(text: str, seeds: list[int]) -> None:
    assert list(parse_seed_range(text)) == seeds


@pytest.mark.parametrize("text", ["", ":", "3:", "3:3", "4:3", "a", "1:2:3", "-1:4", "0x1:3"])
def test_a_bad_range_is_refused_by_its_flag(text: str) -> None:
    with pytest.raises(BadKernel, match=r"^--seeds "):
        parse_seed_range(text)


def test_the_last_seed_can_be_asked_for() -> None:
    assert list(parse_seed_range(str(SEED_MAX))) == [SEED_MAX]


def test_a_reference_is_a_file_and_perhaps_a_name(tmp_path: Path) -> None:
    path = tmp_path / "k.py"
    path.write_text("")
    assert split_reference(str(path)) == (path.resolve(), None)
    assert split_reference(f"{path}::name") == (path.resolve(), "name")
    assert split_reference(f"{path}::") == (path.resolve(), None)
    with pytest.raises(BadKernel, match="no such file"):
        split_reference(str(tmp_path))


def test_a_file_is_imported_from_above_its_outermost_package(tmp_path: Path) -> None:
    inner = tmp_path / "shop" / "orders"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").write_text("")
    assert project_root(inner / "kernels.py") == tmp_path
    assert project_root(tmp_path / "kernels.py") == tmp_path


def test_a_proxy_that_raises_when_it_is_asked_is_no_kernel(tmp_path: Path) -> None:
    file = tmp_path / "with_proxy.py"
    file.write_text(
        "class Proxy:\n"
        "    def __getattribute__(self, name):\n"
        "        raise RuntimeError('not within a request')\n"
        "request = Proxy()\n"
        "async def main():\n"
        "    return 1\n"
    )
    assert kernel_names(load_module(file)) == ["main"]


def test_a_program_that_imports_inspect_has_its_own_kernels_only(tmp_path: Path) -> None:
    path = tmp_path / "program_with_inspect.py"
    path.write_text("import inspect\n\n\nasync def mine(): ...\n")
    assert kernel_names(load_module(path)) == ["mine"]
