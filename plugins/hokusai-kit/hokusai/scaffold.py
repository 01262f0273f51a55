"""The files of a new signature pack."""

from __future__ import annotations

from string import Template
from typing import Final

__all__ = ["project_files"]

_PYPROJECT: Final = """\
[build-system]
requires = ["uv_build>=0.11,<1"]
build-backend = "uv_build"

[project]
name = "$distribution"
version = "0.1.0"
description = "Signatures for Hokusai"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["hokusai-core>=0.1"]

[dependency-groups]
dev = ["pytest>=8"]

# This line makes it a plugin: wherever the distribution is installed, its signatures are found.
[project.entry-points.hokusai]
$plugin = "$module.plugin"

[tool.uv.build-backend]
module-name = "$module"
module-root = ""
"""

_README: Final = """\
# $distribution

Signatures for Hokusai: language-model programs that run by name.

    pip install -e . pytest
    python -m pytest
    hokusai show $signature
    hokusai run $signature -i text="The meeting moves from Monday to Wednesday. Bring the signed contract."
    hokusai evaluate $signature --card

The signatures are in `$module/signatures.py`. Add another class there, and it is part of the pack.

`$module/evaluation/` has for each signature the rows that it is measured on, a data card that says where they are
from, and the scorecards that `hokusai evaluate --card` writes and `hokusai show` prints.
"""

_ROWS: Final = """\
{"text": "Fire drill at ten. Leave by the stairs.", "actions": ["Leave by the stairs"], "urgent": true}
{"text": "The canteen has a new oven, and the soup is hot again.", "actions": [], "urgent": false}
{"text": "Send me your holiday plans before summer.", "actions": ["Send your holiday plans"], "urgent": false}
"""

_DATA_CARD: Final = """\
# Evaluation set of $signature

| | |
| --- | --- |
| Source | |
| Licence | |
| How it was made | |
| Right answers | |
| Language | |

## What it cannot show

- Three rows show nothing. Replace them by rows of your own work, a hundred or more.
"""

_INIT: Final = '''\
"""Signatures for Hokusai."""

from __future__ import annotations

from $module.signatures import $signature

__all__ = ["$signature"]
'''

_PLUGIN: Final = '''\
"""What this plugin offers. Hokusai imports this module, so it stays light."""

from __future__ import annotations

from hokusai_core import BaseSignature, hookimpl


@hookimpl
def provide_signatures() -> list[type[BaseSignature]]:
    """Offer the signatures of this pack."""
    import $module

    return [getattr($module, name) for name in $module.__all__]
'''

_SIGNATURES: Final = '''\
"""The signatures of this pack."""

from hokusai_core import BaseSignature, InputField, OutputField


class $signature(BaseSignature):
    """List what the text asks the reader to do.

    Take only what the text says. Keep its order.
    """

    version = "0.1.0"
    category = "analysis"
    tags = ("example",)

    text: str = InputField("The text to read")
    tone: str = InputField("How the answers should sound", default="brief")
    actions: list[str] = OutputField("One action each, as a command")
    urgent: bool = OutputField("Whether anything has to be done today")

    # Documentation and tests at once: in testing mode an execution with these inputs gives these outputs.
    examples = (
        {
            "inputs": {"text": "The meeting moves from Monday to Wednesday. Bring the signed contract."},
            "outputs": {"actions": ["Move the meeting to Wednesday", "Bring the signed contract"], "urgent": False},
        },
        {
            "inputs": {"text": "Water is off from noon today: fill what you need this morning.", "tone": "friendly"},
            "outputs": {"actions": ["Fill what you need this morning"], "urgent": True},
        },
    )
'''

_TESTS: Final = '''\
"""Tests of the pack; no language model is called."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hokusai_core import Executor
from hokusai_core.errors import InputError

from $module import plugin

EXAMPLES = [(item.__name__, example) for item in plugin.provide_signatures() for example in item.spec.examples]


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(mode="testing", plugins=[], extra_plugins=[("$plugin", plugin)]) as executor:
        yield executor


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_example_gives_what_it_promises(executor: Executor, name: str, example: dict[str, Any]) -> None:
    assert dict(executor.execute_signature(name, example["inputs"])) == example["outputs"]


@pytest.mark.parametrize("name", sorted({name for name, _ in EXAMPLES}))
def test_missing_inputs_are_refused(executor: Executor, name: str) -> None:
    with pytest.raises(InputError, match="is required"):
        executor.execute_signature(name, {})


def test_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert importlib.import_module(project["project"]["entry-points"]["hokusai"]["$plugin"]) is plugin
'''

_FILES: Final = {
    "pyproject.toml": _PYPROJECT,
    "README.md": _README,
    "$module/__init__.py": _INIT,
    "$module/plugin.py": _PLUGIN,
    "$module/py.typed": "",
    "$module/signatures.py": _SIGNATURES,
    "$module/evaluation/$signature.jsonl": _ROWS,
    "$module/evaluation/$signature.md": _DATA_CARD,
    "tests/test_$module.py": _TESTS,
}


def project_files(*, distribution: str, module: str, plugin: str, signature: str) -> dict[str, str]:
    """Return path -> text of a project that is ready to be installed and tested.

    Args:
        distribution: name under which it is installed.
        module: name under which it is imported.
        plugin: name of its entry point; the left half of ``plugin/Signature``.
        signature: name of its first signature.
    """
    names = {"distribution": distribution, "module": module, "plugin": plugin, "signature": signature}
    return {Template(path).substitute(names): Template(text).substitute(names) for path, text in _FILES.items()}
