"""Advice for commands that are written as those of other tools."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

import click

__all__ = ["command_advice", "usage_advice"]

_MODEL: Final = frozenset({"--model", "-m", "--llm", "--model-name"})
#: Parameters of language models that other tools have as options.
_PARAMETERS: Final = frozenset({"temperature", "max_tokens", "top_p", "top_k", "seed", "stop"})
#: Commands of other tools -> ours.
_COMMANDS: Final = {
    **dict.fromkeys(("invoke", "predict", "call", "exec", "execute", "prompt-model", "ask"), "run NAME -i field=value"),
    **dict.fromkeys(("eval", "test", "bench"), "evaluate NAME DATA"),
    **dict.fromkeys(("compile", "tune", "train"), "optimize NAME DATA"),
    **dict.fromkeys(("signatures", "ls"), "list"),
}


def usage_advice(error: click.UsageError) -> str:
    """Return what to write instead; empty where the message says enough.

    Args:
        error: how a command was written wrongly.
    """
    command = error.ctx.command if error.ctx else None
    takes = {name for parameter in command.params for name in parameter.opts} if command else set()
    if isinstance(error, click.NoSuchOption):
        name = error.option_name.lstrip("-").replace("-", "_")
        if error.option_name in _MODEL and "--lm" in takes:
            return "; write --lm provider/model"
        if name in _PARAMETERS and "--parameter" in takes:
            return f"; write --parameter {name}=..."
        if "-i" in takes and not get_close_matches(error.option_name, error.possibilities or (), cutoff=0.8):
            return f"; an input is written -i {name}=..."
    elif "unexpected extra argument" in error.message and "-i" in takes:
        return "; inputs are written -i field=value, or -i field=@file"
    return ""


def command_advice(name: str, signatures: Iterable[str]) -> str:
    """Return what to write in place of a command that does not exist; empty for an unknown name.

    Args:
        name: what was written as the command.
        signatures: names of the installed signatures.

    Example:
        >>> command_advice("SummarizeText", ["SummarizeText"])
        '; write hokusai run SummarizeText -i field=value'
    """
    if "->" in name or name in signatures:
        shown = f'"{name}"' if " " in name else name
        return f"; write hokusai run {shown} -i field=value"
    instead = _COMMANDS.get(name)
    return f"; write hokusai {instead}" if instead else ""
