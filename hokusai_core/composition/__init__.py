"""Programs made of signatures: chains, conditional pipelines and concurrent tasks. They can be nested.

In reading order: ``definitions`` (what chains and pipelines consist of), ``references`` (what a value of a mapping
means), ``chain`` and ``conditional`` (what people write), ``targets`` (a signature, chain or pipeline as something that
takes inputs), ``checker`` and ``compatibility`` (everything is checked before any call), ``step_execution`` (steps that
need nothing from each other run at the same time), ``runner`` (what an executor runs chains and pipelines with),
``tasks`` (several of all these side by side), ``results``, ``mermaid``, ``files``.
"""

from __future__ import annotations

from hokusai_core.composition.chain import SignatureChain
from hokusai_core.composition.conditional import ConditionalPipeline
from hokusai_core.composition.references import literal, ref
from hokusai_core.composition.results import ChainResult

__all__ = ["ChainResult", "ConditionalPipeline", "SignatureChain", "literal", "ref"]
