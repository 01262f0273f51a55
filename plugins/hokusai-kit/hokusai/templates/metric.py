"""AcmeSample: the share of expected words that an answer has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["AcmeSample"]


class AcmeSample:
    """Compares the words of each expected output, without case and order."""

    name, source = "acme-plugin", "acme-sample"
    range = (0.0, 1.0)
    higher_is_better = True

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return the share of expected words in ``outputs``. A missing output has none."""
        wanted = found = 0
        for name, value in expected.items():
            words = _words(value)
            wanted += len(words)
            found += len(words & _words(outputs.get(name)))
        return found / wanted if wanted else 1.0


def _words(value: Any) -> set[str]:
    return set() if value is None else set(str(value).casefold().split())
