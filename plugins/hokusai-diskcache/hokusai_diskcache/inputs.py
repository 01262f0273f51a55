"""Inputs on a command line, written as ``hokusai run`` takes them: only then is the same execution explained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

__all__ = ["gather_inputs"]


def gather_inputs(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the inputs that ``-i`` options name.

    Args:
        pairs: texts such as ``field=value``, ``field=@file``, ``field=@-`` (stdin) and ``field:=JSON``. Two ``@`` stand
            for one that is meant. A field that is named several times gets the list of its values.

    Raises:
        click.BadParameter: says which one is wrong, never what it holds.
    """
    values: dict[str, list[Any]] = {}
    for number, pair in enumerate(pairs, 1):
        name, separator, text = pair.partition("=")
        field = name.removesuffix(":").strip()
        if not separator or not field:
            raise click.BadParameter(f"number {number} has no '=': write -i field=value", param_hint="-i")
        values.setdefault(field, []).append(_from_json(text, field) if name.endswith(":") else _value(text, field))
    return {field: found[0] if len(found) == 1 else found for field, found in values.items()}


def _from_json(text: str, field: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{field}:= is no JSON ({type(error).__name__})", param_hint="-i") from error


def _value(text: str, field: str) -> str:
    if not text.startswith("@"):
        return text
    if text.startswith("@@"):
        return text[1:]
    try:
        with click.open_file(text[1:], encoding="utf-8-sig") as file:
            return str(file.read())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise click.BadParameter(
            f"{field}={text}: {reason} (a text that begins with @ is written with @@)", param_hint="-i"
        ) from error
