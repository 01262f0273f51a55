"""Lazy targets: ``"module:attribute"``, imported when first used."""

from __future__ import annotations

import importlib

from hokusai_core.suggestions import did_you_mean

__all__ = ["resolve_target"]


def resolve_target(target: str) -> object:
    """Import what ``target`` names.

    Only text that an installed plugin wrote in its own entry point or ``Component`` comes here, never data.

    Args:
        target: ``module``, ``module:attribute`` or ``module:attribute.attribute``.

    Raises:
        ImportError: the module, or something that it imports, is not there; ``name`` tells which.
        AttributeError: the module has no such attribute; the message names the nearest one.
        BaseException: whatever else the module raises while it is imported.
    """
    module_name, _, path = target.partition(":")
    value: object = importlib.import_module(module_name)
    for attribute in path.split(".") if path else ():
        try:
            value = getattr(value, attribute)
        except AttributeError as error:
            hint = did_you_mean(attribute, dir(value))
            raise AttributeError(f"{module_name} has no attribute {attribute!r}{hint}") from error
    return value
