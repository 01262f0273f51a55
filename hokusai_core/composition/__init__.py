"""Programs made of signatures: chains, branches and tasks side by side; each may stand inside the others.

``methods`` is what an executor takes over from here. In reading order: ``references`` (what a value of a mapping
means), ``chain``, ``conditional`` and ``parallel`` (what people write), ``targets`` (a signature, chain or pipeline as
something that takes inputs), ``settle`` and ``fitting`` (the whole checked before any call), ``running`` (steps that
wait for nothing run at once), ``results``, ``telling``, ``drawing``, ``files``.
"""

from __future__ import annotations

from hokusai_core.composition.chain import SignatureChain
from hokusai_core.composition.conditional import ConditionalPipeline
from hokusai_core.composition.parallel import ParallelExecutor
from hokusai_core.composition.references import literal, ref
from hokusai_core.composition.results import ChainResult

__all__ = ["ChainResult", "ConditionalPipeline", "ParallelExecutor", "SignatureChain", "literal", "ref"]
