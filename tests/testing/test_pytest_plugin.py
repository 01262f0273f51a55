"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.warm_python import PYTEST, WarmPython

Run = Callable[..., pytest.RunResult]

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester, warm_python: WarmPython) -> Run:
    """Return a function that runs tests in a pytest of their own."""

    def run(test: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test)
        # What pytest loads by itself is another test's matter; other plugins of this environment take a second.
        plugins = ("-p", "hokusai_core.testing.pytest_plugin", "-p", "no:cacheprovider")
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = warm_python.run(PYTEST, *plugins, *arguments, cwd=pytester.path, env=environment)
        return pytest.RunResult(done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), 0.0)

    return run


def test_an_isolated_executor(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_MAX_WORKERS", "3")
    monkeypatch.setenv("HOKUSAI_LM", "openai/not-there")
    result = run(
        """
        import os, socket
        import pytest
        from hokusai_core.storage import user_data_folder
        from hokusai_core.testing.pytest_plugin import NetworkBlocked

        SEEN = []

        @pytest.mark.parametrize("turn", [1, 2])
        def test_executor(executor, turn, tmp_path):
            assert executor.config["max_workers"].source == "default"
            executor.register_signature("Ask", "question -> answer, sure: bool, tags: list[str]")
            result = executor.execute_signature("Ask", {"question": "?"})
            assert result.outputs == {"answer": "some answer", "sure": True, "tags": ["some tags"]}
            assert not [name for name in os.environ if name.startswith("HOKUSAI_") and not name.endswith("_DIR")]
            folder = user_data_folder("feedback")
            assert os.path.expanduser("~") not in str(folder) or "pytest" in str(folder)
            SEEN.append(folder)
            assert len(set(SEEN)) == turn

        def test_no_network(executor):
            with pytest.raises(NetworkBlocked, match="example.com"):
                socket.create_connection(("example.com", 80))
            with pytest.raises(NetworkBlocked):
                socket.socket().connect(("192.0.2.1", 80))
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()).close()

        def test_a_real_model_is_not_reached(executor, monkeypatch):
            monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
            executor.register_signature("Ask", "question -> answer")
            with pytest.raises(Exception, match="null_lm"):
                executor.execute_signature("Ask", {"question": "?"}, lm="openai/gpt-5-mini")

        def test_options(make_executor, null_lm):
            lm = null_lm(answers={"answer": "42"})
            executor = make_executor(lm=lm, max_workers=2, plugins=[])
            executor.register_signature("Ask", "question -> answer")
            assert executor.execute_signature("Ask", {"question": "?"})["answer"] == "42"
            assert lm.engine.calls == 1

        def test_without_a_fixture_nothing_is_changed():
            assert os.environ["HOKUSAI_MAX_WORKERS"] == "3"
        """,
    )
    result.assert_outcomes(passed=6)


CASSETTES = """
    import pytest

    @pytest.fixture
    def lm(null_lm):
        return null_lm(answers={"answer": "recorded"})

    def ask(executor, lm):
        executor.register_signature("Ask", "question -> answer")
        return executor.execute_signature("Ask", {"question": "?"}, lm=lm)["answer"]

    @pytest.mark.cassette
    def test_marked(executor, lm):
        assert ask(executor, lm) == "recorded"

    def test_fixture(cassette, executor, lm):
        assert ask(executor, lm) == "recorded"
        assert cassette.played + cassette.recorded == 1

    @pytest.mark.cassette("own.json", record_mode="new_episodes")
    class TestClass:
        @pytest.mark.parametrize("turn", ["a b", "c/d"])
        def test_inside(self, executor, lm, turn):
            assert ask(executor, lm) == "recorded"

    @pytest.mark.cassette
    @pytest.mark.parametrize("turn", ["a b", "c/d"])
    def test_nothing_is_asked(turn):
        pass

    @pytest.mark.cassette(allow_playback_repeats=True)
    @pytest.mark.parametrize("turn", ["a b", "c/d"])
    def test_many(executor, lm, turn):
        ask(executor, lm)
"""


def test_cassettes(pytester: pytest.Pytester, run: Run) -> None:
    tests = CASSETTES
    result = run(tests)
    result.assert_outcomes(passed=8)
    written = sorted(str(path.relative_to(pytester.path)) for path in pytester.path.rglob("*.json"))
    folder = "cassettes/test_cassettes"
    assert written == [
        f"{folder}/test_fixture.json", f"{folder}/test_many[a_b].json", f"{folder}/test_many[c_d].json",
        f"{folder}/test_marked.json", "own.json",
    ]  # fmt: skip
    changed = tests.replace('{"answer": "recorded"}', '{"answer": "not asked"}')
    run(changed, "--hokusai-record-mode=none").assert_outcomes(passed=8)
    run(changed, "--hokusai-record-mode=all").assert_outcomes(passed=4, failed=4)
    failed = run(tests.replace('"?"', '"??"'), "--hokusai-record-mode=none")
    failed.assert_outcomes(passed=2, failed=6)
    assert "field question: recorded '?', asked '??'" in failed.stdout.str()
    wrong = run(tests, "--hokusai-record-mode=sometimes")
    assert "expected one of once, new_episodes, none, all" in wrong.stdout.str()


def test_the_fixtures_are_there_by_themselves_and_documented(
    pytester: pytest.Pytester, warm_python: WarmPython
) -> None:
    shown = warm_python.run(PYTEST, "--fixtures", cwd=pytester.path).stdout
    assert re.search(r"^executor -- .*hokusai_core/testing/pytest_plugin\.py", shown, re.MULTILINE)
    assert "Return an isolated executor" in shown


def test_it_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    code = (
        "import sys, pytest; before = set(sys.modules); "
        "code = pytest.main(['-q', '-p', 'no:cacheprovider', '-p', 'hokusai_core.testing.pytest_plugin', "
        "'-p', 'hokusai_evaluate.pytest_plugin']); "
        "print('LOADED', sorted(m for m in sys.modules if m.split('.')[0] in "
        "('dspy', 'pydantic', 'mlflow', 'attr', 'attrs', 'numpy', 'litellm', 'orjson') or m.startswith('hokusai'))); "
        "sys.exit(code)"
    )
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # other plugins of this environment bring pydantic
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=pytester.path, env=environ, capture_output=True, text=True, check=True
    )
    loaded = ast.literal_eval(done.stdout.partition("LOADED ")[2])
    assert loaded == [
        "hokusai_core",
        "hokusai_core.lazy_exports",
        "hokusai_core.plugin_api",
        "hokusai_core.testing",
        "hokusai_core.testing.pytest_plugin",
        "hokusai_evaluate",
        "hokusai_evaluate.pytest_plugin",
    ]
