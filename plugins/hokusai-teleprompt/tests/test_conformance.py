from __future__ import annotations

from typing import Any

import pytest

from hokusai_core.plugin_api import PluginManager
from hokusai_core.testing.optimizers import OptimizerConformance

SMALL: dict[str, dict[str, Any]] = {
    "labeled_fewshot": {"k": 3},
    "bootstrap_fewshot": {"max_bootstrapped_demos": 2, "max_labeled_demos": 3},
    "bootstrap_random_search": {"num_candidate_programs": 1},
    "bootstrap_optuna": {"num_candidate_programs": 2},
    "knn_fewshot": {"k": 3},
    "mipro_v2": {"num_candidates": 3, "num_trials": 2},
    "copro": {"breadth": 2, "depth": 1},
    "simba": {"bsize": 4, "num_candidates": 2, "max_steps": 1},
    "gepa": {"max_metric_calls": 30},
    "better_together": {"num_candidate_programs": 1, "breadth": 2},
}


def test_every_optimizer_is_offered_and_tested() -> None:
    with PluginManager(only=["teleprompt"]) as plugins:
        assert {component.name for component in plugins.components("optimizer")} == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
class TestOptimizers(OptimizerConformance):
    @pytest.fixture
    def make_optimizer(self, name: str) -> Any:
        with PluginManager(only=["teleprompt"]) as plugins:
            component = plugins.component("optimizer", name)
            assert component.summary
            made = plugins.create("optimizer", name, **SMALL[name])
        return lambda: type(made)(**SMALL[name])
