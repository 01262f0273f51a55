"""The examples of signatures that are shown to a small model as demos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hokusai_core.plugin_api import SignatureSpec

__all__ = ["demos_for"]

#: Signature -> its inputs. Of each it was measured that its own examples make the answers better;
#: ``benchmarks/embedded_demos.py`` does so.
_HELPED = {"ExtractInfo": {"document", "info_types"}}


def demos_for(spec: SignatureSpec) -> tuple[Mapping[str, Any], ...]:
    """Return the examples of a signature as demos where they help a small model; none for other signatures.

    Args:
        spec: the signature.
    """
    if set(spec.inputs) != _HELPED.get(spec.name):
        return ()
    return tuple({**spec.binder.bind(example["inputs"]), **example["outputs"]} for example in spec.examples)
