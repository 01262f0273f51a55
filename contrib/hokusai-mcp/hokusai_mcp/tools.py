"""Tools: what a signature or a chain looks like to a client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import mcp_types as types
from attrs import field, frozen

from hokusai_core import Executor, SignatureChain
from hokusai_core.errors import CompositionError, ConfigurationError, SignatureError
from hokusai_core.plugin_api import SignatureSpec, input_schema, jsonable, output_schema

__all__ = ["OfferedTool", "find_tools"]

_OTHER: Final = re.compile(r"[^A-Za-z0-9_-]")
#: Characters that clients take in the name of a tool.
_LONGEST: Final = 64


@frozen
class OfferedTool:
    """A signature or chain as a tool.

    Args:
        name: what clients call it.
        target: name of the signature, or the chain.
        spec: its inputs and outputs.
        typed_outputs: whether the schema of the outputs is known; that of a chain that ends with a pipeline is not.
    """

    name: str
    target: str | SignatureChain
    spec: SignatureSpec = field(repr=False)
    typed_outputs: bool = True

    def describe(self) -> types.Tool:
        """Return the tool as clients see it."""
        return types.Tool(
            name=self.name,
            title=self.spec.name,
            description=_description(self.spec),
            input_schema=input_schema(self.spec),
            output_schema=output_schema(self.spec) if self.typed_outputs else None,
            # It asks a language model, and changes nothing. Tools of a strategy may reach further.
            annotations=types.ToolAnnotations(
                read_only_hint=self.spec.strategy is None, destructive_hint=False, open_world_hint=True
            ),
        )

    def result(self, outputs: Mapping[str, Any]) -> types.CallToolResult:
        """Return outputs as data, and as text for clients that show only that."""
        values = {name: jsonable(value) for name, value in outputs.items()}
        only = next(iter(values.values())) if len(values) == 1 else None
        text = only if isinstance(only, str) else json.dumps(values, ensure_ascii=False, indent=2)
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=values)


def find_tools(
    executor: Executor, include: Sequence[str], exclude: Sequence[str], chains: Iterable[SignatureChain]
) -> dict[str, OfferedTool]:
    """Return the tools by their names.

    Args:
        executor: has the signatures.
        include: names or patterns such as ``Email*`` or ``signatures/*``; empty for all signatures.
        exclude: names or patterns of signatures that are left out.
        chains: chains that are offered, too.

    Raises:
        ConfigurationError: a pattern matches nothing, or two tools would have one name.
        CompositionError: a chain does not fit together.
    """
    tools: list[OfferedTool] = []
    used: set[str] = set()
    for name in executor.list_signatures():
        try:
            found = executor.signature(name)
        except SignatureError:  # one that cannot be used; `hokusai plugins` says why
            continue
        names = (name, found.name, found.qualified_name)
        matching = {pattern for pattern in include if any(fnmatchcase(one, pattern) for one in names)}
        used |= matching
        excluded = any(fnmatchcase(one, pattern) for one in names for pattern in exclude)
        if (matching or not include) and not excluded:
            tools.append(OfferedTool(_tool_name(name), name, found.spec))
    if unused := [pattern for pattern in include if pattern not in used]:
        raise ConfigurationError(f"no signature is called {unused[0]!r}; `hokusai list` shows which there are")
    tools += [_chain_tool(executor, chain) for chain in chains]
    by_name = {tool.name: tool for tool in tools}
    if len(by_name) < len(tools):
        names_seen = [tool.name for tool in tools]
        twice = next(name for name in names_seen if names_seen.count(name) > 1)
        raise ConfigurationError(f"two tools would be called {twice!r}; leave one out, or give the chain another name")
    return by_name


def _chain_tool(executor: Executor, chain: SignatureChain) -> OfferedTool:
    chain.check(executor)
    try:
        return OfferedTool(_tool_name(chain.name), chain, chain.to_signature(executor).spec)
    except CompositionError:  # with a pipeline or a program in it, which no signature can hold
        fields = chain.initial_fields(executor)
        spec = SignatureSpec(_tool_name(chain.name), f"Run {', then '.join(chain.steps)}.", fields)
        return OfferedTool(_tool_name(chain.name), chain, spec, typed_outputs=False)


def _tool_name(name: str) -> str:
    return _OTHER.sub("_", name)[:_LONGEST]


def _description(spec: SignatureSpec) -> str:
    parts = [spec.instructions.strip()]
    if spec.deprecated is not None:
        parts.append(f"Deprecated{f': use {spec.deprecated}' if spec.deprecated else ''}.")
    return "\n\n".join(part for part in parts if part) or spec.describe()
