"""The component of this plugin: the backend ``openai-batch``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_backends"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_backends() -> list[Component]:
    """Offer the backend."""
    return [
        Component(
            name="openai-batch",
            target="hokusai_openai_batch.backend:OpenAIBatchBackend",
            summary="Rows of batches through the batch service of OpenAI, at half the price and within a day",
        )
    ]
