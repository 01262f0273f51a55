"""Hook implementations of the plugin ``openai``."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_language_models"]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_language_models() -> list[Component]:
    """Offer models by the address of their server, and by name on the server that the environment names."""
    return [
        Component(
            name="openai-server",
            target="hokusai_openai.provider:OpenAIProvider",
            summary="OpenAI-compatible servers: OpenAI, vLLM, llama.cpp, Ollama, gateways",
            capabilities=("address",),
        )
    ]
