"""Chain of thought with the embedded language model, from the command to the answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hokusai_core import BaseSignature, Executor, InputField, OutputField


class Sentiment(BaseSignature):
    """Say whether the review is positive or negative."""

    review: str = InputField()
    sentiment: str = OutputField("positive or negative", choices_from="labels")
    labels: list[str] = InputField(default=["positive", "negative"])

    strategy = "chain_of_thought"


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(lm="local", plugins=["strategies", "local"], environ={}) as made:
        yield made


def test_it_reasons_before_it_answers(executor: Executor) -> None:
    result = executor.execute_signature(Sentiment, {"review": "I love it. Best chair I ever had."})
    assert result["sentiment"] in ("positive", "negative")
    assert isinstance(result.extras["reasoning"], str)
    assert result.extras["reasoning"].strip()
    assert result.usage.calls == 1
    again = executor.execute_signature(Sentiment, {"review": "I love it. Best chair I ever had."})
    assert (again.cached, dict(again), dict(again.extras)) == ("memory", dict(result), dict(result.extras))


def test_the_command_runs_it() -> None:
    command = [sys.executable, "-m", "hokusai", "run", "ResolveQuery", "-i", "query=What is 2 + 2?", "--lm", "local"]
    done = subprocess.run(
        [*command, "--strategy", "chain_of_thought", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["strategy"] == "chain_of_thought"
    assert answer["extras"]["reasoning"]
    assert answer["outputs"]
