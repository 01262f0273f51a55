"""Standard loggers: records of each area with the execution's id, silent where the host configures nothing."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import ExecutionError
from hokusai_core.testing.listening import ListeningTracker
from hokusai_core.testing.lm import null_lm

MakeExecutor = Callable[..., Executor]


class DeafTracker(ListeningTracker):
    def record(self, event: Any) -> None:
        raise OSError("canary-text")


def test_executions_and_hits_are_logged_with_their_id(
    make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    executor = make_executor()
    with caplog.at_level(logging.DEBUG, "hokusai"):
        results = [executor.execute_signature("Answer", {"question": "canary-text"}) for _ in range(2)]
    records = [record for record in caplog.records if record.name in ("hokusai.execution", "hokusai.cache")]
    assert [record.name for record in records] == ["hokusai.execution", "hokusai.cache"]
    assert [record.__dict__["execution_id"] for record in records] == [result.execution_id for result in results]
    assert "canary" not in caplog.text


def test_a_failed_execution_is_logged_with_the_class_of_its_error(
    make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    lm = null_lm(fail_first=9)
    with caplog.at_level(logging.INFO, "hokusai.execution"), pytest.raises(ExecutionError) as caught:
        make_executor(lm=lm).execute_signature("Answer", {"question": "?"}, retry_on_failure=True, max_retries=1)
    messages = [record.getMessage() for record in caplog.records]
    assert "is tried again after try 1" in messages[0]
    assert type(caught.value).__name__ in messages[-1]
    assert {record.__dict__["execution_id"] for record in caplog.records} == {caught.value.execution_id}


@pytest.mark.filterwarnings("ignore::hokusai_core.execution.observers.ObserverWarning")
def test_a_tracker_that_fails_is_logged_each_time(
    make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    executor = make_executor(trackers={"deaf": DeafTracker()})
    with caplog.at_level(logging.WARNING, "hokusai"):
        result = executor.execute_signature("Answer", {"question": "?"})
    record = next(record for record in caplog.records if record.name == "hokusai.tracking")
    assert record.getMessage() == "tracker deaf failed: OSError"
    assert record.__dict__["execution_id"] == result.execution_id


def test_nothing_is_printed_where_a_host_configures_nothing() -> None:
    program = """
import logging, warnings
warnings.simplefilter("ignore")
from hokusai_core import Executor
class Broken: HOKUSAI_HOOK_API = "x"
with Executor(mode="testing", plugins=[], extra_plugins=[("broken", Broken())]) as executor:
    executor.register_signature("Answer", "question -> answer")
    executor.execute_signature("Answer", {"question": "?"})
assert logging.getLogger("hokusai").handlers and not logging.getLogger().handlers
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
