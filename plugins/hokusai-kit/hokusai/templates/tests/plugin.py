"""Tests of the plugin module: Hokusai finds what it offers, and can make it."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

from hokusai_core.plugin_api import PluginManager

from acme_sample import plugin


def test_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert importlib.import_module(project["project"]["entry-points"]["hokusai"]["acme-plugin"]) is plugin


def test_what_it_offers_can_be_made() -> None:
    with PluginManager(only=[], extra=[("acme-plugin", plugin)]) as manager:
        (component,) = manager.components("acme-kind")
        assert manager.failures() == ()
        assert component.summary
