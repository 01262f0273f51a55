"""Amounts of money as whole numbers of picodollars, so that sums of many small costs are exact.

A picodollar is a millionth of a millionth of a US dollar: the price of a token at one dollar for a million tokens is a
million picodollars.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Final

__all__ = ["dollars", "picodollars", "shown_dollars"]

_PICODOLLARS: Final = 10**12
#: Fractions of a picodollar that are what binary fractions add to a price, and no part of it.
_NOISE: Final = Decimal("0.001")


def picodollars(amount: float | Decimal) -> int:
    """Return an amount in US dollars as picodollars, rounded up.

    Args:
        amount: US dollars, finite and not below zero.

    Example:
        >>> picodollars(0.1 + 0.2)
        300000000000
    """
    exact = Decimal(str(amount)) * _PICODOLLARS
    if exact == exact.to_integral_value():  # a large one has no fraction, and may have more digits than a context
        return int(exact)
    return int(exact.quantize(_NOISE, ROUND_HALF_EVEN).to_integral_value(ROUND_CEILING))


def dollars(amount: int) -> float:
    """Return an amount in picodollars as US dollars."""
    return amount / _PICODOLLARS


def shown_dollars(amount: int) -> str:
    """Return an amount in picodollars for people, with four decimals, or as many as a small one needs.

    Example:
        >>> shown_dollars(1_500_000_000_000), shown_dollars(2_500_000)
        ('$1.5000', '$0.0000025')
    """
    value = Decimal(amount) / _PICODOLLARS
    if amount == 0 or abs(value) >= Decimal("0.001"):
        return f"${value:.4f}"
    return f"${value:.12f}".rstrip("0")
