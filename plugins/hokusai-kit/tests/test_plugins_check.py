"""``hokusai plugins check``: what keeps to the contract passes, and each fault is found, with a next step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hokusai.doctor_checks import Check
from hokusai.plugin_checks import UnknownPluginError, plugin_checks
from hokusai_core.plugin_api import PluginManager

Command = Callable[..., "subprocess.CompletedProcess[str]"]

ZOO = Path(__file__).parents[3] / "tests" / "plugins" / "zoo"

HEAD = """
from hokusai_core.plugin_api import Component, hookimpl
HOKUSAI_HOOK_API = 1
"""
SCORE = "    def score(self, expected, outputs, inputs): return 1.0\n"
RANGE = "    range, higher_is_better = (0.0, 1.0), True\n"
TRACKER = (
    "    def record(self, event): ...\n    def flush(self, timeout=None): return True\n    def close(self): ...\n"
    "    def status(self): return dict(accepted=0, delivered=0, backlog=0, last_error=None)\n"
)


def offer(kind: str, target: str = "C", name: str = "c") -> str:
    """Return the hook that offers a component."""
    return f'@hookimpl\ndef provide_{kind}():\n    return [Component("{name}", {target}, summary="s")]'


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that installs a plugin for this process and for those that it starts."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
    before = set(sys.modules)

    def install(name: str, source: str, requires: str = "hokusai-core>=0.1") -> None:
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(source, encoding="utf-8")
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        (info / "METADATA").write_text(text + (f"Requires-Dist: {requires}\n" if requires else ""), encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[hokusai]\n{name} = {name}\n", encoding="utf-8")

    yield install
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(site) in str(sys.modules[name].__file__):
            del sys.modules[name]


def findings(name: str, *, imports: bool = False) -> list[Check]:
    return [check for check in plugin_checks(name, imports=imports) if check.state != "ok"]


# what is wrong -> source of the plugin, then state, subject and words of the finding and of its next step
FAULTS = {
    "target module": (
        offer("caches", '"no_such_module:Cache"'),
        "fail", "cache c", "target 'no_such_module:Cache' cannot be resolved: ModuleNotFoundError", "install",
    ),
    "target attribute": (
        offer("caches", '"faulty:Cahce"'), "fail", "cache c", "AttributeError", "correct the target",
    ),
    "target is no factory": (
        "thing = 3\n" + offer("caches", '"faulty:thing"'), "fail", "cache c", "is a int", "name a class",
    ),
    "missing method": (
        "class C:\n" + RANGE + offer("metrics"), "fail", "metric c", "no method score()", "contract",
    ),
    "missing attribute": (
        "class C:\n    range = (0.0, 1.0)\n" + SCORE + offer("metrics"),
        "fail", "metric c", "higher_is_better", "contract",
    ),
    "bad range": (
        "class C:\n    range, higher_is_better = (1.0, 0.0), True\n" + SCORE + offer("metrics"),
        "fail", "metric c", "range is (1.0, 0.0)", "range = (0.0, 1.0)",
    ),
    "option without type": (
        "class C:\n    def __init__(self, weight=1.0): ...\n" + RANGE + SCORE + offer("metrics"),
        "fail", "metric c", "option 'weight' has no type", "annotate",
    ),
    "option without default": (
        "class C:\n    def __init__(self, weight: float): ...\n" + RANGE + SCORE + offer("metrics"),
        "fail", "metric c", "option 'weight' has no default", "give it a default",
    ),
    "default without JSON": (
        "class C:\n    def __init__(self, weight: object = object()): ...\n" + RANGE + SCORE + offer("metrics"),
        "fail", "metric c", "has no JSON form", "settings",
    ),
    "blocking twin": (
        "class C:\n    def aflush(self, timeout=None): return True\n" + TRACKER + offer("trackers"),
        "fail", "tracker c", "aflush() is no coroutine function", "async_twin(flush)",
    ),
    "optional method": (
        "class C:\n    async def aflush(self, timeout=None): return True\n    def begin_execution(self): ...\n"
        + TRACKER + offer("trackers"),
        "fail", "tracker c", "begin_execution() does not take (execution_id, signature)", "contract",
    ),
    "raises when it is made": (
        "class C:\n    def __init__(self): raise RuntimeError('boom')\n" + offer("validators"),
        "fail", "validator c", "RuntimeError: boom", "contract",
    ),
    "ends the process": (
        "class C:\n    def __init__(self): raise SystemExit(3)\n" + offer("validators"),
        "fail", "validator c", "SystemExit", "contract",
    ),
    "name of a tool": (
        "from hokusai_core.plugin_api import FunctionTool\ndef add(a: int) -> int:\n    'Adds.'\n    return a\n"
        "def make(): return FunctionTool(add, version='1')\n" + offer("tools", "make", "my-tool"),
        "fail", "tool my-tool", "a language model calls it by that name", "letters, digits",
    ),
    "version of a strategy": (
        "class C:\n    version = ''\n    def build(self, task): ...\n" + offer("strategies"),
        "fail", "strategy c", "version is ''", 'version = "1"',
    ),
    "not a command": (
        "def f(): ...\n" + offer("commands", "f"), "fail", "command c", "not a click.Command", "name the command",
    ),
    "a command of that name": (
        "import click\n@click.command()\ndef run():\n    'Runs.'\n" + offer("commands", "run", "run"),
        "fail", "command run", "hokusai has a command 'run' of its own", "another name",
    ),
    "a name that another plugin has": (
        "class C: ...\n" + offer("caches", name="diskcache"),
        "fail", "conflicts", "cache 'diskcache' is offered by", "rename",
    ),
    "heavy import": (
        "import dspy\n@hookimpl\ndef provide_caches(): return []", "fail", "import", "imports dspy", "target=",
    ),
    "example that does not fit": (
        "from hokusai_core import BaseSignature, InputField, OutputField\nclass Count(BaseSignature):\n"
        "    'Count.'\n    text: str = InputField('t')\n    number: int = OutputField('n')\n"
        "    examples = ({'inputs': {'text': 'a'}, 'outputs': {'number': 'many'}},)\n"
        "@hookimpl\ndef provide_signatures(): return [Count]",
        "fail", "signature", "number", "",
    ),
    "no example": (
        "from hokusai_core import BaseSignature, InputField, OutputField\nclass Count(BaseSignature):\n"
        "    'Count.'\n    text: str = InputField()\n    number: int = OutputField('n')\n"
        "@hookimpl\ndef provide_signatures(): return [Count]",
        "warn", "signature Count", "it has no examples", "give it examples",
    ),
    "no summary": (
        "class C:\n    def validate_inputs(self, signature, inputs): return []\n"
        "    def validate_outputs(self, signature, inputs, outputs): return []\n"
        '@hookimpl\ndef provide_validators():\n    return [Component("c", C)]',
        "warn", "validator c", "summary is empty", "summary=",
    ),
    "requires what is missing": (
        '@hookimpl\ndef provide_caches():\n    return [Component("c", "x:y", requires=["no-such-thing>=2"])]',
        "fail", "cache c", "requires no-such-thing>=2", "pip install",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(put: Callable[..., None], fault: str) -> None:
    source, state, subject, text, remedy = FAULTS[fault]
    put("faulty", f"{HEAD}\n{source}\n")
    found = findings("faulty", imports=subject == "import")
    matching = [
        one
        for one in found
        if one.state == state and subject in one.subject and text in one.text and remedy in one.remedy
    ]
    assert matching, found
    assert all(one.remedy for one in found), found


@pytest.mark.parametrize(
    ("requires", "state", "text"),
    [
        ("", "warn", "does not require hokusai-core"),
        ("hokusai-core<1", "warn", "keeps users from newer versions"),
        ("no-such-library>=2", "fail", "no-such-library>=2 is not installed"),
        ("attrs>=999", "fail", "it needs attrs>=999"),
    ],
)
def test_dependencies_are_looked_at(put: Callable[..., None], requires: str, state: str, text: str) -> None:
    put("needy", HEAD, requires)
    assert any(one.state == state and text in one.text and one.remedy for one in findings("needy"))


def test_a_plugin_without_hook_api_is_found(put: Callable[..., None]) -> None:
    put("undeclared", "from hokusai_core.plugin_api import hookimpl\n")
    assert [one.text for one in findings("undeclared") if one.subject == "hook API"]


@pytest.mark.parametrize(
    ("case", "subject", "text"),
    [
        ("import-error", "import", "RuntimeError: broken at import"),
        ("missing-dependency", "import", "yonder_library"),
        ("system-exit", "import", "SystemExit"),
        ("misspelt-hook", "register", "did you mean 'provide_caches'"),
        ("newer-api", "register", "it needs hook API 99"),
        ("raising-hook", "provide", ""),
        ("mixed-signatures", "signature", ""),
        ("malformed-value", "discovery", "is neither"),
    ],
)
def test_a_broken_plugin_is_explained(monkeypatch: pytest.MonkeyPatch, case: str, subject: str, text: str) -> None:
    monkeypatch.syspath_prepend(str(ZOO / case))
    failed = [one for one in findings(f"zoo-{case}") if one.state == "fail" and one.subject == subject]
    assert any(text in one.text and one.remedy for one in failed), failed


def test_a_plugin_that_is_not_installed_is_named() -> None:
    with pytest.raises(UnknownPluginError, match="no plugin 'signatrues' is installed; did you mean 'signatures'"):
        findings("signatrues")


def test_the_command_prints_a_table_or_json_and_fails_without_a_traceback(
    hokusai: Command, install: Callable[[str, str], None]
) -> None:
    install("faulty", f"{HEAD}\n{FAULTS['bad range'][0]}\n")
    done = hokusai("plugins", "check", "faulty")
    assert done.returncode == 1
    assert "fail  metric c" in done.stdout
    assert "-> " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    done = hokusai("plugins", "check", "faulty", "--json")
    assert done.returncode == 1
    assert {"state", "subject", "text", "remedy"} == json.loads(done.stdout)["checks"][0].keys()
    done = hokusai("plugins", "check", "no-such-plugin")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_plugins_of_this_repository_keep_to_the_contract() -> None:
    names = [record.name for record in PluginManager().records() if record.distribution.startswith("hokusai-")]
    assert {"signatures", "mlflow", "teleprompt"} <= set(names)
    assert {name: [one for one in findings(name) if one.state == "fail"] for name in names} == {
        name: [] for name in names
    }
