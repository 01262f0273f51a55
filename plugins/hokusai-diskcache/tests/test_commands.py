"""``hokusai cache`` on a real store."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hokusai_core import Executor
from hokusai_core.plugin_api import PluginManager
from hokusai_core.testing.caches import make_entry
from hokusai_diskcache import DiskCache, plugin
from hokusai_diskcache.commands import cache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = DiskCache(tmp_path / "answers")
    now = time.time()
    store.put(make_entry("a1", signature="one/Greet", created_at=now - 10 * 86_400))
    store.put(make_entry("a2", signature="one/Greet"))
    store.put(make_entry("b1", signature="two/Greet"))
    store.put(make_entry("c1", signature="one/Other"))
    store.close()
    return tmp_path / "answers"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cache, arguments)


def test_stats(folder: Path) -> None:
    shown = run("stats", "--directory", str(folder))
    assert shown.exit_code == 0
    assert "one/Greet" in shown.output
    assert "10d ago" in shown.output
    figures = json.loads(run("stats", "--json", "--directory", str(folder)).output)
    assert figures["entries"] == 4
    assert figures["signatures"]["one/Greet"]["entries"] == 2


def test_stats_of_nothing_makes_no_folder(tmp_path: Path) -> None:
    assert json.loads(run("stats", "--json", "--directory", str(tmp_path / "none")).output)["entries"] == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ((), []),
        (("--signature", "one/Greet"), ["b1", "c1"]),
        (("--signature", "Greet"), ["c1"]),
        (("--older-than", "7d"), ["a2", "b1", "c1"]),
        (("--signature", "Greet", "--older-than", "1w"), ["a2", "b1", "c1"]),
        (("--signature", "None"), ["a1", "a2", "b1", "c1"]),
    ],
    ids=str,
)
def test_clear(folder: Path, options: tuple[str, ...], left: list[str]) -> None:
    done = json.loads(run("clear", "--json", *options, "--directory", str(folder)).output)
    store = DiskCache(folder)
    assert sorted(entry.key for entry in store.entries()) == left
    assert done["removed"] == 4 - len(left)
    store.close()


@pytest.mark.parametrize("age", ["7", "d", "7 years", "-1d"])
def test_an_age_needs_a_unit(folder: Path, age: str) -> None:
    done = run("clear", "--older-than", age, "--directory", str(folder))
    assert done.exit_code == 2
    assert "is not an age" in done.output


def test_explain_names_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_PLUGINS", "signatures")
    folder = tmp_path / "answers"
    inputs = {"document": "Ada met Bob.", "info_types": "names"}
    with Executor(lm="openai/one", mode="production", cache=DiskCache(folder)) as executor:
        key = executor.explain("ExtractInfo", inputs).key
        assert key is not None
        parts = dict(executor.explain("ExtractInfo", inputs).parts)
    store = DiskCache(folder)
    outputs = b'{"extracted_info":"Ada, Bob"}'
    store.put(make_entry(key, signature="signatures/ExtractInfo", outputs=outputs, parts=parts, model="openai/one"))
    store.close()
    given = ["-i", "document=Ada met Bob.", "--directory", str(folder)]

    hit = json.loads(
        run("explain", "ExtractInfo", *given, "-i", "info_types=names", "--lm", "openai/one", "--json").output
    )
    assert (hit["hit"], hit["tiers"]) == ("disk", {"memory": "miss", "disk": "hit"})
    assert hit["stored"]["model"] == "openai/one"

    miss = run("explain", "ExtractInfo", *given, "-i", "info_types=places", "--lm", "openai/two")
    assert miss.exit_code == 0
    assert "differs in model, input:info_types" in miss.output
    assert "by openai/one, never expires" in miss.output

    wrong = run("explain", "ExtractInfo", "-i", "document", "--directory", str(folder))
    assert wrong.exit_code == 2
    assert "number 1 has no '='" in wrong.output
    short = run("explain", "ExtractInfo", *given)
    assert short.exit_code == 1
    assert "info_types: is required" in short.output
    unknown = run("explain", "ExtractInfos", *given, "--lm", "openai/one")
    assert unknown.exit_code == 1
    assert "ExtractInfo" in unknown.output


def test_a_refused_folder_is_an_error_not_a_traceback(folder: Path) -> None:
    folder.chmod(0o777)
    done = run("stats", "--directory", str(folder))
    assert done.exit_code == 1
    assert "others can write" in done.output
    assert "Traceback" not in done.output


def test_the_plugin_offers_cache_and_command(tmp_path: Path) -> None:
    manager = PluginManager(only=[], disable=[], strict=True, extra=[plugin])
    store: Any = manager.create("cache", "diskcache", directory=tmp_path / "a")
    assert isinstance(store, DiskCache)
    assert manager.create("command", "cache") is cache
    assert "persistent" in manager.component("cache", "diskcache").capabilities
    manager.close()
