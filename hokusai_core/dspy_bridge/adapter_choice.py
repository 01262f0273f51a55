"""Choose the adapter of a call: one by name, the strict form of one of DSPy's own, or the host's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import dspy
from dspy.adapters.baml_adapter import BAMLAdapter

from hokusai_core.dspy_bridge.fast_adapter import FastChatAdapter
from hokusai_core.dspy_bridge.strict_adapters import StrictBAMLAdapter, StrictJSONAdapter, StrictXMLAdapter

__all__ = ["is_strict", "strict_adapter"]

#: Name -> adapter, for hosts that choose one by name.
_BY_NAME: Final[Mapping[str, Any]] = MappingProxyType(
    {"chat": FastChatAdapter, "json": StrictJSONAdapter, "xml": StrictXMLAdapter}
)
#: DSPy's own adapter -> the one that writes the same prompts and reads strictly.
_STRICT: Final[Mapping[type, type]] = MappingProxyType(
    {
        BAMLAdapter: StrictBAMLAdapter,
        dspy.ChatAdapter: FastChatAdapter,
        dspy.JSONAdapter: StrictJSONAdapter,
        dspy.XMLAdapter: StrictXMLAdapter,
    }
)
#: What makes an adapter of DSPy what it is.
_SETTINGS: Sequence[str] = (
    "callbacks",
    "native_response_types",
    "parallel_tool_calls",
    "use_json_adapter_fallback",
    "use_native_function_calling",
)


def strict_adapter(adapter: Any) -> Any:
    """Return the adapter for calls: one of DSPy's own in the form that reads strictly, a host's own as it is.

    Args:
        adapter: an adapter, a name (``chat``, ``json``, ``xml``), or None for a ``FastChatAdapter``.
    """
    if adapter is None:
        return FastChatAdapter()
    if isinstance(adapter, str):
        return _BY_NAME[adapter]()
    kind = _STRICT.get(type(adapter))
    if kind is None:
        return adapter
    strict = kind()
    for name in _SETTINGS:
        setattr(strict, name, getattr(adapter, name))
    return strict


def is_strict(adapter: Any) -> bool:
    """Whether ``adapter`` keeps markers in values apart from those of its prompts; one of a host's own does not."""
    return type(adapter) in (FastChatAdapter, *_STRICT.values())
