"""Evaluations as tests, in a pytest of their own."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tests.warm_python import PYTEST, WarmPython

pytest_plugins = ["pytester"]

TESTS = """
    import pytest

    ROWS = [{"question": "Capital of France?", "answer": "Paris"}, {"question": "2+2?", "answer": "4"}]

    MANY = [{"question": f"2+2, {number} times?", "answer": "4"} for number in range(20)]

    @pytest.fixture
    def asked(executor):
        executor.register_signature("Ask", "question -> answer")
        return executor

    def test_good(evaluate, asked, null_lm):
        evaluation = evaluate("Ask", ROWS, metric="accuracy", lm=null_lm(answers={"answer": "Paris"}), min_score=0.5)
        assert evaluation.score == 0.5

    def test_bad(evaluate, asked, null_lm):
        evaluate("Ask", ROWS, metric="accuracy", lm=null_lm(answers={"answer": "Rome"}), min_score=0.5)

    def test_own_executor(evaluate, make_executor, null_lm):
        executor = make_executor(lm=null_lm(answers={"answer": "4"}))
        executor.register_signature("Ask", "question -> answer")
        evaluate("Ask", ROWS, metric="accuracy", executor=executor, min_score=0.5)

    def test_worse(evaluate, asked, null_lm):
        right = {"Capital": "Paris", "2+2": "4"}
        lm = null_lm(answers={"answer": lambda user: next(answer for word, answer in right.items() if word in user)})
        evaluate(
            "Ask", MANY, metric="accuracy", max_regression=0.1,
            lm=null_lm(answers={"answer": "Paris"}, model="null/half"), against={"lm": lm},
        )

    def test_not_asked(evaluate, asked, null_lm):
        evaluate("Ask", ROWS, metric="accuracy", lm=null_lm(answers={"answer": "4"}, fail_first=1), min_score=0.1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_evaluations_as_tests(pytester: pytest.Pytester, warm_python: WarmPython, workers: tuple[str, ...]) -> None:
    pytester.makepyfile(TESTS)
    options = ("-p", "no:cacheprovider", "--junitxml=report.xml", *workers)
    done = warm_python.run(PYTEST, *options, cwd=pytester.path)
    result = pytest.RunResult(done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), 0.0)
    result.assert_outcomes(passed=2, failed=3)
    lines = result.stdout.str()
    assert "accuracy 0.000, asked for 0.5" in lines  # why it failed
    assert "expected  answer=4" in lines  # and what was wrong
    assert "worse by more than the 0.1 allowed" in lines
    assert "rows that could not be asked: 1 LanguageModelError" in lines
    # With CI set, pytest repeats the whole messages of what failed after the table.
    summary = lines.partition("= evaluations =")[2].partition("= short test summary info =")[0]
    for name in ("test_good PASSED", "test_bad FAILED", "test_own_executor PASSED", "test_worse FAILED"):
        assert name in summary
    assert summary.count("local/Ask: 2 rows") == 4
    found = ElementTree.parse(pytester.path / "report.xml").iter("property")
    assert sum(one.get("name") == "hokusai_evaluation" for one in found) == 5
