"""The OpenAPI document is exact: schemathesis makes requests from it, right and wrong ones, and finds nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished

from hokusai_core import Executor
from hokusai_serve import ServeLimits


@pytest.mark.parametrize(
    ("path", "examples"),
    [("/v1/execute/Ask$", 3), pytest.param("/", 100, marks=pytest.mark.soak)],
    ids=["one", "all"],
)
def test_schemathesis_finds_nothing(
    make_served: Callable[..., Executor],
    running: Callable[..., Any],
    token: str,
    tmp_path: Path,
    path: str,
    examples: int,
) -> None:
    executor = make_served(mode="testing", plugins=["signatures", "teleprompt"])
    config = SchemathesisConfig.from_dict(
        {
            "headers": {"Authorization": f"Bearer {token}"},
            "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
            "phases": {"coverage": {"enabled": examples > 10}, "stateful": {"enabled": False}},
            "seed": 1,
        }
    )
    with running(executor, token=token, data_folder=tmp_path, limits=ServeLimits(rows=5)) as (
        address,
        _,
    ):
        schema = schemathesis.openapi.from_url(
            f"{address}/openapi.json", headers={"Authorization": f"Bearer {token}"}, config=config
        )
        scenarios, found = 0, []
        for event in from_schema(schema.include(path_regex=path)).execute():
            if isinstance(event, ScenarioFinished):
                scenarios += 1
                if event.status in (Status.FAILURE, Status.ERROR):
                    found.append(told(event))
            elif isinstance(event, NonFatalError):
                found.append(str(event.value))
    assert scenarios >= 1
    assert found == []


def told(event: ScenarioFinished) -> str:
    """Return what a scenario has found."""
    failures = [
        f"{check.name}: {check.failure_info.failure} ({check.failure_info.code_sample})"
        for checks in event.recorder.checks.values()
        for check in checks
        if check.failure_info is not None
    ]
    return f"{event.recorder.label}: {'; '.join(failures)}"
