"""Chains of any size: twice the size takes about twice the work, and nothing ends in a RecursionError."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Executor, SignatureChain, literal, ref
from hokusai_core.errors import CompositionError


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions ``work`` calls: work that no clock and no other process changes."""
    count = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def grows_linearly(make: Callable[[int], Callable[[], object]], size: int) -> bool:
    """Return whether four times the size takes less than six times the calls; quadratic work takes sixteen times."""
    make(2)()  # what is done once
    small, large = (calls_of(make(count)) for count in (size, 4 * size))
    return large < 6 * small


@pytest.fixture
def executor() -> Executor:
    executor = Executor(plugins=[], mode="testing")
    executor.register_signature("Echo", "text -> answer")
    return executor


def in_a_row(count: int, last: Any = None) -> SignatureChain:
    chain = SignatureChain(inputs=["text"]).add("Echo", {"text": "text"}, name="s0")
    for number in range(1, count):
        chain.add("Echo", {"text": f"s{number - 1}.answer"}, name=f"s{number}")
    return chain


def side_by_side(count: int) -> SignatureChain:
    chain = SignatureChain(inputs=["text"])
    for number in range(count):
        chain.add("Echo", {"text": "text"}, name=f"s{number}")
    return chain


def with_slips(count: int) -> SignatureChain:
    chain = SignatureChain()
    for number in range(count):
        chain.add("Echo", {"text": f"step{number}.answer"}, name=f"s{number}")
    return chain


@pytest.mark.parametrize("shape", [in_a_row, side_by_side, with_slips])
def test_checking_a_chain(executor: Executor, shape: Callable[[int], SignatureChain]) -> None:
    def make(count: int) -> Callable[[], object]:
        chain = shape(count)
        return lambda: chain.check(executor, ["text"] if chain.inputs else [])

    assert grows_linearly(make, 300)


def test_checking_a_chain_with_a_problem_in_every_step(executor: Executor) -> None:
    def make(count: int) -> Callable[[], object]:
        chain = SignatureChain()
        for number in range(count):
            chain.add("Echo", {"text": ref(f"nothing{number}")}, name=f"s{number}")

        def check() -> None:
            with pytest.raises(CompositionError, match=f"nothing{count - 1}"):
                chain.check(executor, ["text"])

        return check

    assert grows_linearly(make, 300)


def test_names_that_a_chain_does_not_declare(executor: Executor) -> None:
    def make(count: int) -> Callable[[], object]:
        chain = SignatureChain(inputs=[f"text{number}" for number in range(count)])
        chain.add("Echo", {"text": "text0"})

        def check() -> None:
            with pytest.raises(CompositionError, match=f"'txt{count - 1}' is not declared"):
                chain.check(executor, [f"txt{number}" for number in range(count)])

        return check

    assert grows_linearly(make, 300)


@pytest.mark.parametrize("shape", [in_a_row, side_by_side])
def test_running_a_chain(executor: Executor, shape: Callable[[int], SignatureChain]) -> None:
    def make(count: int) -> Callable[[], object]:
        chain = shape(count)

        def run() -> None:
            result = executor.execute_chain(chain, {"text": "hello"}, timeout=None)
            assert len(result.steps) == count

        return run

    assert grows_linearly(make, 200)


@pytest.mark.parametrize("suffix", ["toml", "yaml"])
@pytest.mark.parametrize("part", ["steps", "keys", "unknown keys", "inputs"])
def test_reading_a_file(tmp_path: Path, suffix: str, part: str) -> None:
    equals = " = " if suffix == "toml" else ": "

    def make(count: int) -> Callable[[], object]:
        file = tmp_path / f"c{count}.{suffix}"
        names = [f"k{number}" for number in range(count)]
        steps, text = ["s0"], f'inputs{equals}["text"]\n'
        if part == "steps":
            steps = [f"s{number}" for number in range(count)]
        elif part == "inputs":
            text = f"inputs{equals}[{', '.join(repr(name) for name in names)}]\n"
        elif part == "unknown keys":
            text += "".join(f"{name}{equals}1\n" for name in names)
        given = ", ".join(f"{name}{equals}1" for name in names) if part == "keys" else f"text{equals}'text'"
        if suffix == "toml":
            text += "".join(f"[[steps]]\nname = '{name}'\nsignature = 'Echo'\ninputs = {{{given}}}\n" for name in steps)
        else:
            text += "steps:\n"
            text += "".join(f"- {{name: {name}, signature: Echo, inputs: {{{given}}}}}\n" for name in steps)
        file.write_text(text)

        def read() -> None:
            if part == "unknown keys":
                with pytest.raises(CompositionError, match="unknown 'k0', 'k1'"):
                    SignatureChain.from_file(file)
            else:
                SignatureChain.from_file(file)

        return read

    assert grows_linearly(make, 100)


@pytest.mark.parametrize(
    "text",
    ["a." * 200_000 + "a = 1", "[" + "a." * 200_000 + "a]", "x = " + "[" * 100_000, "x = " + "{a=" * 100_000],
    ids=["dotted key", "dotted table", "lists", "tables"],
)
def test_toml_that_is_nested_without_end(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep.toml"
    file.write_text(text)
    with pytest.raises(CompositionError, match=r"nested too deeply|not TOML"):
        SignatureChain.from_file(file)


@pytest.mark.parametrize("text", ["x: " + "[" * 100_000, "{a: " * 50_000, "- " * 100_000])
def test_yaml_that_is_nested_without_end(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text(text)
    with pytest.raises(CompositionError, match=r"nested too deeply|not YAML"):
        SignatureChain.from_file(file)


def test_values_that_are_nested_without_end(executor: Executor) -> None:
    value: Any = ref("text")
    for _ in range(100_000):
        value = [value]
    chain = SignatureChain().add("Echo", {"text": value})
    for work in (
        lambda: chain.check(executor, ["text"]),
        lambda: executor.execute_chain(chain, {"text": "hello"}),
        lambda: chain.to_mermaid(),
    ):
        with pytest.raises(CompositionError, match="nested too deeply"):
            work()
    assert SignatureChain().add("Echo", {"text": literal(["deep"])}).to_mermaid()
