"""The pytest plugin ``hokusai_evaluate``: an evaluation as a test with a threshold.

pytest imports this module at every start in an environment that has this package, so it imports pytest alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from hokusai_evaluate.evaluation_report import Evaluation

__all__ = ["evaluate", "pytest_terminal_summary"]

#: Name of the property of a test report that holds the table of an evaluation. It reaches the process that prints, with
#: pytest-xdist too, and the JUnit file.
_PROPERTY: Final = "hokusai_evaluation"
#: Of the worst rows so many are shown where a test fails.
_WORST: Final = 5


@pytest.fixture
def evaluate(request: pytest.FixtureRequest) -> Callable[..., Evaluation]:
    """Return a function that evaluates a signature or chain, and fails the test below a threshold.

    Args, beside those of ``hokusai_evaluate.evaluate``:
        executor: runs it; left out, the fixture ``executor``.
        min_score: the score of the first metric that must be reached.
        max_regression: how much worse than ``against`` it may be.

    The test also fails if a row could not be asked. The table of every evaluation is in the terminal summary.

    Example::

        def test_routing(evaluate):
            evaluate("RouteTicket", "data/tickets.jsonl", metric="accuracy", min_score=0.9, lm="openai/gpt-5-mini")
    """

    def run(
        target: Any,
        data: Any,
        *,
        executor: Any = None,
        min_score: float | None = None,
        max_regression: float | None = None,
        **options: Any,
    ) -> Evaluation:
        from hokusai_evaluate.evaluation import evaluate as measure

        chosen = request.getfixturevalue("executor") if executor is None else executor
        evaluation: Evaluation = measure(chosen, target, data, max_regression=max_regression, **options)
        request.node.user_properties.append((_PROPERTY, evaluation.table(worst=0)))
        failed = [one for one in evaluation.check(min_score=min_score) if not one.passed]
        if failed:
            reasons = "\n".join(f"{one.label}: {one.name} not passed: {one.message}" for one in failed)
            pytest.fail(f"{reasons}\n\n{evaluation.table(worst=_WORST)}", pytrace=False)
        return evaluation

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of every evaluation."""
    found = list(_tables(terminalreporter))
    if found:
        terminalreporter.section("evaluations")
    for test, outcome, table in found:
        terminalreporter.write_line(f"{test} {outcome}")
        for line in table.splitlines():
            terminalreporter.write_line(f"  {line}".rstrip())


def _tables(terminalreporter: pytest.TerminalReporter) -> Iterator[tuple[str, str, str]]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, value in report.user_properties:
                    if name == _PROPERTY:
                        yield report.nodeid, report.outcome.upper(), str(value)
