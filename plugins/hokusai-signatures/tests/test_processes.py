"""What only a fresh process shows: what importing the pack costs, and whether fingerprints depend on the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import hokusai_signatures as pack


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_offering_the_signatures_imports_nothing_heavy() -> None:
    code = (
        "import sys, hokusai_signatures.plugin as plugin;"
        "offered = plugin.provide_signatures();"
        "assert all(signature.spec.fields for signature in offered);"
        "heavy = {'dspy', 'pydantic', 'litellm', 'mlflow', 'openai', 'asyncio', 'numpy'} & set(sys.modules);"
        "print(len(offered), sorted(heavy))"
    )
    assert run(code) == "16 []\n"


def test_fingerprints_are_the_same_in_every_process_and_differ_between_signatures() -> None:
    code = (
        "import json, hokusai_signatures as pack;"
        "print(json.dumps({name: getattr(pack, name).spec.fingerprint for name in pack.__all__}))"
    )
    first, second = (json.loads(run(code, PYTHONHASHSEED=seed)) for seed in ("1", "2"))
    assert first == second == {name: getattr(pack, name).spec.fingerprint for name in pack.__all__}
    assert len(set(first.values())) == len(pack.__all__)
