"""The checks of ``hokusai plugins check``: whether an installed plugin keeps to the contract of its hooks."""

from __future__ import annotations

import importlib.util
import json
import pkgutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import Requirement

from hokusai.commands import COMMANDS
from hokusai.component_checks import component_checks
from hokusai.doctor_checks import Check
from hokusai_core.errors import HokusaiError
from hokusai_core.plugin_api import COMPONENT_HOOKS, HOOK_API, PluginManager, did_you_mean, install_command, jsonable

if TYPE_CHECKING:
    from hokusai_core import Component, Executor
    from hokusai_core.plugin_api import SignatureSpec
    from hokusai_core.types import PluginRecord

__all__ = ["UnknownPluginError", "plugin_checks"]

#: Libraries that take long to import. The plugin module must do without them: it is imported by every command.
_HEAVY: Final = (
    "dspy", "litellm", "mlflow", "numpy", "openai", "pandas", "pyarrow", "ray", "scipy", "sklearn", "tensorflow",
    "torch", "transformers",
)  # fmt: skip
#: Seconds that the import of a plugin module may take, beside what Hokusai has imported already.
_IMPORT_SECONDS: Final = 0.5
#: Seconds after which an import is given up.
_PATIENCE: Final = 120.0
#: Imports what the arguments name, and prints what each import took.
_PROGRAM: Final = """
import importlib, json, sys, time
from hokusai_core.plugin_api import BaseSignature, Component, hookimpl
heavy, found = sys.argv[1].split(","), {}
for module in sys.argv[2:]:
    began, before = time.perf_counter(), set(sys.modules)
    try:
        importlib.import_module(module)
    except BaseException as error:
        found[module] = {"error": type(error).__name__}
        continue
    new = [name for name in heavy if name in sys.modules and name not in before]
    found[module] = {"seconds": time.perf_counter() - began, "heavy": new}
print()
print(json.dumps(found))
"""


class UnknownPluginError(Exception):
    """No plugin of that name is installed."""


def plugin_checks(name: str, *, imports: bool = True) -> Iterator[Check]:
    """Yield what is found about a plugin. Nothing of it can end this process or print a traceback.

    Args:
        name: name of its entry point, or of its distribution.
        imports: whether its imports are measured, in a process of their own.

    Raises:
        UnknownPluginError: There is no such plugin.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what failed is a finding of its own
        with PluginManager() as manager:
            records = [one for one in manager.records() if name in (one.name, one.distribution)]
            if not records:
                yield from _unreadable(manager, name)
                return
            for record in records:
                yield from _Plugin(manager, record, imports=imports).checks()


def _unreadable(manager: PluginManager, name: str) -> Iterator[Check]:
    """Yield why the plugins of a distribution cannot be found."""
    failures = [one for one in manager.failures() if one.distribution == name]
    if not failures:
        known = sorted({one.name for one in manager.records()})
        hint = did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
        raise UnknownPluginError(f"no plugin {name!r} is installed{hint}")
    for failure in failures:
        yield Check("fail", failure.phase, failure.reason, failure.remedy)


class _Plugin:
    """One plugin."""

    def __init__(self, manager: PluginManager, record: PluginRecord, *, imports: bool) -> None:
        self._manager, self._record, self._name = manager, record, record.name
        self._measures_imports = imports

    def checks(self) -> Iterator[Check]:
        record = self._record
        where = " ".join(part for part in (record.distribution, record.version) if part) or record.origin
        yield Check("ok", "plugin", f"{record.name} of {where}, {record.target}")
        yield from self._distribution()
        conflicts = self._manager.conflicts()  # loads every plugin, and asks each for all that it offers
        failures = [one for one in self._manager.failures() if one.plugin == record.name]
        for failure in failures:
            what = f" ({failure.subject})" if failure.subject else ""
            yield Check("fail", failure.phase, f"{failure.reason}{what}", failure.remedy)
        if any(one.phase in ("discovery", "import", "register") for one in failures):
            return
        yield self._hook_api()
        offered = [
            (kind, item)
            for kind in COMPONENT_HOOKS
            for item in self._manager.components(kind)
            if item.owner is not None and item.owner.plugin == record.name
        ]
        specs = [
            item.spec
            for pack in self._manager.signature_packs()
            if pack.owner.plugin == record.name
            for item in pack.signatures
        ]
        if self._measures_imports:
            yield from self._imports([item for _, item in offered])
        yield from _typing_marker(record.target.partition(":")[0])
        for conflict in conflicts:
            if any(owner.plugin == record.name for owner in conflict.owners):
                remedy = "rename it; until then users write plugin/name"
                yield Check("fail", "conflicts", str(conflict), remedy)
        for kind, item in offered:
            if kind == "command" and item.name in COMMANDS:
                text = f"hokusai has a command {item.name!r} of its own, which is run in its place"
                yield Check("fail", f"command {item.name}", text, "give the component another name")
            yield from component_checks(self._manager, kind, item)
        if specs:
            yield from self._signatures(specs)
        if not offered and not specs:
            yield Check("ok", "offers", "nothing; it listens")

    def _distribution(self) -> Iterator[Check]:
        if not self._record.distribution:
            return
        needs = [Requirement(text) for text in metadata.requires(self._record.distribution) or []]
        core = [need for need in needs if need.name.replace("_", "-") in ("hokusai-core", "hokusai-kit")]
        if not core:
            text = "its distribution does not require hokusai-core"
            yield Check("warn", "dependencies", text, 'add "hokusai-core>=0.1" to dependencies in pyproject.toml')
        for need in core:
            if any(part.operator in ("<", "<=", "==", "~=") for part in need.specifier):
                text = f"it requires {need}, so it keeps users from newer versions"
                yield Check("warn", "dependencies", text, "leave the upper bound out; HOKUSAI_HOOK_API protects it")
        for need in needs:
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            try:
                version = metadata.version(need.name)
            except metadata.PackageNotFoundError:
                yield Check("fail", "dependencies", f"{need} is not installed", install_command(str(need)))
                continue
            if not need.specifier.contains(version, prereleases=True):
                text = f"it needs {need}, but {version} is installed"
                yield Check("fail", "dependencies", text, install_command(str(need)))

    def _hook_api(self) -> Check:
        version = getattr(pkgutil.resolve_name(self._record.target), "HOKUSAI_HOOK_API", None)
        if version is None:
            text = "HOKUSAI_HOOK_API is not set, so a later core cannot tell what the plugin was written for"
            return Check("warn", "hook API", text, f"write HOKUSAI_HOOK_API = {HOOK_API} in {self._record.target}")
        return Check("ok", "hook API", f"{version}, and this core has {HOOK_API}")

    def _imports(self, components: Sequence[Component]) -> Iterator[Check]:
        module = self._record.target.partition(":")[0]
        targets = [item.target.partition(":")[0] for item in components if isinstance(item.target, str)]
        modules = list(dict.fromkeys([module, *targets]))
        command = [sys.executable, "-P", "-c", _PROGRAM, ",".join(_HEAVY), *modules]
        try:
            done = subprocess.run(  # noqa: S603  # this interpreter and a fixed program
                command, capture_output=True, text=True, timeout=_PATIENCE, check=True
            )
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (subprocess.SubprocessError, ValueError, IndexError) as error:
            text = f"{module} could not be imported in a process of its own ({type(error).__name__})"
            yield Check("fail", "import", text, f"{sys.executable} -c 'import {module}' shows why")
            return
        for name in modules:
            facts = found[name]
            if "seconds" not in facts:
                continue  # the component itself is a finding
            text = f"{name} takes {facts['seconds'] * 1000:.0f} ms"
            heavy = f" and imports {', '.join(facts['heavy'])}" if facts["heavy"] else ""
            if name != module:
                yield Check("ok", "import", f"{text}{heavy}, when a component of it is first used")
            elif heavy:
                remedy = 'name what needs it as a text, target="module:attribute", which is imported when it is used'
                yield Check("fail", "import", f"{text}{heavy}; every command imports it", remedy)
            elif facts["seconds"] > _IMPORT_SECONDS:
                yield Check("warn", "import", f"{text}; every command imports it", "import less in the plugin module")
            else:
                yield Check("ok", "import", text)

    def _signatures(self, specs: Sequence[SignatureSpec]) -> Iterator[Check]:
        from hokusai_core import Executor
        from hokusai_core.testing.lm import null_lm

        options: dict[str, Any] = {"trackers": [], "cache": None, "environ": {}}
        with Executor(mode="testing", **options) as dry, Executor(lm=null_lm(), **options) as wet:
            for spec in specs:
                subject = f"signature {spec.name}"
                if not spec.examples:
                    remedy = "give it examples: they are its documentation, and the test of this command"
                    yield Check("warn", subject, "it has no examples, so it was not run", remedy)
                    continue
                problems = list(_example_problems(dry, wet, f"{self._name}/{spec.name}", spec))
                yield from (Check("fail", subject, text, remedy) for text, remedy in problems)
                if not problems:
                    yield Check("ok", subject, f"examples that run: {len(spec.examples)}")
                yield from (
                    Check("warn", subject, f"the field {item.name!r} has no description", "say what it holds")
                    for item in spec.fields
                    if not item.description
                )


def _example_problems(dry: Executor, wet: Executor, name: str, spec: SignatureSpec) -> Iterator[tuple[str, str]]:
    for number, example in enumerate(spec.examples):
        where = f"examples[{number}]"
        try:
            outputs = dry.execute_signature(name, example["inputs"])
            promised = dict(example.get("outputs", {}))
            given = jsonable(dict(outputs))
            different = [field for field, value in jsonable(promised).items() if given.get(field) != value]
            if different:
                text = f"{where}: {', '.join(different)} comes back as another value than the example has"
                yield text, "write the value as the type of the output has it"
            wet.execute_signature(name, example["inputs"])
        except HokusaiError as error:
            yield f"{where}: {type(error).__name__}: {error}", "correct the example, or the types of the fields"
        except Exception as error:  # of the signature's own code
            yield f"{where}: {type(error).__name__}: {error}", "mend the code of the signature"


def _typing_marker(module: str) -> Iterator[Check]:
    package = importlib.util.find_spec(module.partition(".")[0])
    folders = [] if package is None else list(package.submodule_search_locations or ())
    if folders and not any((Path(folder) / "py.typed").exists() for folder in folders):
        text = f"{module.partition('.')[0]} has no file py.typed, so type checkers ignore its types"
        yield Check("warn", "types", text, "add an empty file py.typed beside its __init__.py")
