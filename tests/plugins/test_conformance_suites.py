"""Every kind of component has a conformance suite; what each finds is tested in tests/conformance."""

from __future__ import annotations

import importlib
import inspect

from hokusai_core.hookspecs import COMPONENT_HOOKS


def test_every_kind_of_component_has_a_suite() -> None:
    modules = {
        "language_model": "language_models", "cache": "caches", "tracker": "trackers", "validator": "validators",
        "optimizer": "optimizers", "metric": "metrics", "feedback_store": "feedback_stores", "backend": "backends",
        "signature_source": "signature_sources", "edition_source": "edition_sources", "command": "commands",
        "strategy": "strategies", "tool": "tools",
    }  # fmt: skip
    assert modules.keys() == COMPONENT_HOOKS.keys()
    for module in modules.values():
        suites = [
            value
            for name, value in vars(importlib.import_module(f"hokusai_core.testing.{module}")).items()
            if name.removesuffix("Conformance") not in ("", name) and inspect.isclass(value)
        ]
        assert suites, module
        assert all(any(name.startswith("test_") for name in dir(suite)) for suite in suites)
