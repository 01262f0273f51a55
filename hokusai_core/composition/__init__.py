"""Programs made of signatures: chains, branches and tasks side by side; each may stand inside the others.

In reading order: ``methods`` (what the executor offers), ``references`` (what a value of a mapping means), ``chain``,
``conditional`` and ``parallel`` (what people write), ``targets`` (a signature, chain or pipeline as thing that takes
inputs), ``checker`` and ``compatibility`` (everything is checked before any call), ``runner`` (steps that need nothing
from each other run at the same time), ``results``, ``operation_events``, ``mermaid``, ``files``.
"""

from __future__ import annotations

from hokusai_core.composition.chain import SignatureChain
from hokusai_core.composition.conditional import ConditionalPipeline
from hokusai_core.composition.parallel import ParallelExecutor
from hokusai_core.composition.references import literal, ref
from hokusai_core.composition.results import ChainResult

__all__ = ["ChainResult", "ConditionalPipeline", "ParallelExecutor", "SignatureChain", "literal", "ref"]
