"""Checks of the options that several strategies take."""

from __future__ import annotations

import math
from typing import Any

from hokusai_core.errors import ConfigurationError

__all__ = ["FINISH", "checked_count", "checked_number"]

#: Name of the tool with which a model that uses tools says that it is done; it is DSPy's.
FINISH = "finish"

_MOST = 1000


def checked_count(strategy: str, option: str, value: Any, *, least: int = 1) -> int:
    """Return a whole number from ``least`` to 1000.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise ConfigurationError(
            f"strategy {strategy!r}: {option}={value!r}: expected a whole number of {least} to {_MOST}"
        )
    return value


def checked_number(strategy: str, option: str, value: Any) -> float | None:
    """Return a finite number, or None for None.

    Raises:
        ConfigurationError: it is neither.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigurationError(f"strategy {strategy!r}: {option}={value!r}: expected a number")
    return float(value)
