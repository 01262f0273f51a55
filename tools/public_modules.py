"""The public modules of hokusai-core; ``__all__`` of each is its list of public names."""

from __future__ import annotations

from typing import Final

__all__ = ["LAZY_MODULES", "PUBLIC_MODULES"]

#: Modules whose names are imported when they are first used.
LAZY_MODULES: Final = ("hokusai_core", "hokusai_core.plugin_api", "hokusai_core.types")

PUBLIC_MODULES: Final = (
    *LAZY_MODULES,
    "hokusai_core.errors",
    "hokusai_core.testing.backends",
    "hokusai_core.testing.caches",
    "hokusai_core.testing.commands",
    "hokusai_core.testing.edition_sources",
    "hokusai_core.testing.feedback_stores",
    "hokusai_core.testing.language_models",
    "hokusai_core.testing.listening",
    "hokusai_core.testing.lm",
    "hokusai_core.testing.metrics",
    "hokusai_core.testing.optimizers",
    "hokusai_core.testing.pytest_plugin",
    "hokusai_core.testing.signature_sources",
    "hokusai_core.testing.trackers",
    "hokusai_core.testing.validators",
)
