"""The files of a new plugin, made from the files in ``templates/``.

The templates are files of a plugin called ``acme-sample``. A new plugin has its own names in the place of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

from attrs import frozen

from hokusai_core.plugin_api import COMPONENT_HOOKS

__all__ = ["KINDS", "SIGNATURE", "ProjectNames", "project_files"]

SIGNATURE: Final = "signature"
#: What a new plugin may offer.
KINDS: Final = (SIGNATURE, *COMPONENT_HOOKS)

#: Path in the project -> template. The words in capitals are names of the project.
_COMMON: Final = {
    ".github/workflows/test.yml": "workflow.yml",
    ".gitignore": "gitignore",
    "LICENSE": "LICENSE",
    "pyproject.toml": "pyproject.toml",
    "MODULE/py.typed": "",
}
_PACK: Final = {
    "README.md": "signatures_README.md",
    "MODULE/__init__.py": "signatures_package.py",
    "MODULE/plugin.py": "signatures_plugin.py",
    "MODULE/signatures.py": "signatures.py",
    "MODULE/evaluation/CLASS.jsonl": "rows.jsonl",
    "MODULE/evaluation/CLASS.md": "data_card.md",
    "tests/test_MODULE.py": "tests/signatures.py",
}
_COMPONENT: Final = {
    "README.md": "README.md",
    "MODULE/__init__.py": "package.py",
    "MODULE/plugin.py": "plugin.py",
    "MODULE/KIND.py": "KIND.py",
    "tests/test_MODULE.py": "tests/plugin.py",
    "tests/test_KIND.py": "tests/KIND.py",
}
#: Further files of some kinds.
_MORE: Final[Mapping[str, dict[str, str]]] = {
    "strategy": {"MODULE/strategy_module.py": "strategy_module.py"},
    "signature_source": {"MODULE/signatures.json": "signatures.json"},
}
#: Name of the target of a component, where it is no class.
_TARGETS: Final = {"command": "command", "signature_source": "load_signature"}
#: The first line of a template says what the component does.
_SUMMARY: Final = re.compile(r'"""\w+: (.*)\."""')


@frozen
class ProjectNames:
    """The names of a new plugin.

    Args:
        distribution: name under which it is installed.
        kind: one of ``KINDS``.
        class_name: name of its first signature, or of the class of its component.
    """

    distribution: str
    kind: str
    class_name: str

    @property
    def module(self) -> str:
        """The name under which it is imported."""
        return self.distribution.replace("-", "_")

    @property
    def plugin(self) -> str:
        """The name of its entry point; the left half of qualified names."""
        return self.distribution.removeprefix("hokusai-")

    @property
    def component(self) -> str:
        """The name of its component. A language model calls a tool by it, so that one has no hyphen."""
        return self.plugin.replace("-", "_") if self.kind == "tool" else self.plugin


def project_files(names: ProjectNames) -> dict[str, str]:
    """Return path -> text of a project that is ready to be installed and tested."""
    kind = names.kind
    files = _COMMON | (_PACK if kind == SIGNATURE else _COMPONENT | _MORE.get(kind, {}))
    summary = "Signatures for Hokusai"
    if kind != SIGNATURE:
        found = _SUMMARY.match(_template(f"{kind}.py"))
        summary = "" if found is None else found[1][0].upper() + found[1][1:]
    words = {
        'name="acme-plugin"': f'name="{names.component}"',
        "acme_sample.component:AcmeSample": f"{names.module}.{kind}:{_TARGETS.get(kind, names.class_name)}",
        "provide_components": COMPONENT_HOOKS.get(kind, ""),
        "acme-summary": summary,
        "acme-kind": kind,
        "acme-plugin": names.plugin,
        "acme-sample": names.distribution,
        "acme_tool": names.component,
        "acme_sample": names.module,
        "ACME_SAMPLE": names.module.upper(),
        "AcmeSample": names.class_name,
    }
    # All at once, so that a name of the project is never taken for a word of the template.
    pattern = re.compile("|".join(map(re.escape, words)))
    made = {}
    for path, template in files.items():
        text = _template(template.replace("KIND", kind)) if template else ""
        path = path.replace("MODULE", names.module).replace("KIND", kind).replace("CLASS", names.class_name)
        made[path] = pattern.sub(lambda match: words[match[0]], text)
    return made


def _template(name: str) -> str:
    return resources.files("hokusai").joinpath("templates", *name.split("/")).read_text(encoding="utf-8")
