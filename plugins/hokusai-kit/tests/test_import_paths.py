"""The documented import paths, and what importing them costs."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hokusai_core.plugin_api import lazy_exports

ROOT = Path(__file__).parents[3]
HEAVY = ("dspy", "litellm", "mlflow", "pydantic", "numpy", "xllamacpp", "diskcache", "openai", "rich", "click")

SIGNATURES = (
    "DraftText", "ReviseText", "ExpandText", "RefineText",
    "CritiqueText", "SummarizeText", "ExtractInfo", "ClassifyText",
    "RespondToUser", "ClarifyIntent", "GenerateFollowUp", "ResolveQuery",
    "EmailDraft", "CodeGeneration", "DataAnalysis", "ReportGeneration",
)  # fmt: skip

PATHS = {
    "hokusai.dspy_signatures": ("BaseSignature", "SignatureField", "InputField", "OutputField", *SIGNATURES),
    "hokusai.services.dspy_pipeline_executor": (
        "ConditionalPipeline", "DSPyPipelineExecutor", "ExecutionMode", "ParallelExecutor", "SignatureChain",
    ),
    "hokusai.services.teleprompt_finetuner": ("FeedbackCollector", "TelepromptFineTuner"),
    "hokusai.integrations.mlflow_dspy": ("autolog",),
    "hokusai.services.dspy.validators": ("SignatureValidator",),
}  # fmt: skip


def modules_after(statement: str) -> set[str]:
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PATHS.items() for name in names])
def test_name_is_found_where_it_is_documented(module: str, name: str) -> None:
    found = importlib.import_module(module)
    assert getattr(found, name).__name__ == name
    assert name in found.__all__
    assert name in dir(found)


def test_pre_built_signatures_are_those_of_the_registry() -> None:
    from hokusai import DSPyPipelineExecutor
    from hokusai.dspy_signatures import EmailDraft

    with DSPyPipelineExecutor(cache=None, mlflow_tracking=False) as executor:
        assert set(SIGNATURES) <= set(executor.list_signatures())
        assert executor.signatures.resolve("EmailDraft").signature_class is EmailDraft


def test_main_names_are_at_the_top() -> None:
    hokusai = importlib.import_module("hokusai")
    assert hokusai.DSPyPipelineExecutor.__module__ == "hokusai.executor"
    assert [name for name in hokusai.__all__ if not hasattr(hokusai, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'Pipeline'"):
        _ = hokusai.Pipeline


#: Modules whose names programs need only for parts of their own and for tests.
FOR_AUTHORS = ("hokusai_core.plugin_api", "hokusai_core.testing")
DISTRIBUTIONS = ("hokusai", "hokusai_core", *(path.name.replace("-", "_") for path in ROOT.glob("plugins/hokusai-*")))


def imported_by_pages() -> set[str]:
    """Return the names that code of the pages imports from the core and the standard plugins."""
    found = set()
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")):
        for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for node in ast.walk(ast.parse(code)):
                if not isinstance(node, ast.ImportFrom) or not node.module or node.module.startswith(FOR_AUTHORS):
                    continue
                if node.module.partition(".")[0] in DISTRIBUTIONS:
                    found |= {alias.name for alias in node.names}
    return found


def test_every_name_of_the_pages_is_at_the_top() -> None:
    hokusai = importlib.import_module("hokusai")
    names = {*imported_by_pages(), *(name for found in PATHS.values() for name in found)}
    assert len(names) > 60
    assert sorted(names - set(hokusai.__all__)) == []


def test_importing_the_package_imports_only_what_makes_names_lazy() -> None:
    modules = modules_after("import hokusai")
    assert {name for name in modules if name.startswith(("hokusai_", "hokusai."))} == {
        "hokusai_core",
        "hokusai_core.lazy_exports",
        "hokusai_core.plugin_api",
    }
    assert modules.isdisjoint({*HEAVY, "attrs", "pluggy", "asyncio", "inspect"})


def test_signatures_need_none_of_the_heavy_libraries() -> None:
    assert modules_after("import hokusai.dspy_signatures").isdisjoint({*HEAVY, "asyncio", "pluggy"})


def test_executor_is_imported_without_dspy() -> None:
    statement = "from hokusai.services.dspy_pipeline_executor import DSPyPipelineExecutor, ExecutionMode"
    assert modules_after(statement).isdisjoint(HEAVY)


def test_a_name_that_cannot_be_had_costs_no_other() -> None:
    get, names = lazy_exports("json", {"no_such_module_at_all": ["Missing"], "collections": ["OrderedDict"]})
    assert get("OrderedDict").__name__ == "OrderedDict"
    assert {"Missing", "OrderedDict", "loads"} <= set(names())
    with pytest.raises(ImportError, match="no_such_module_at_all"):
        get("Missing")
