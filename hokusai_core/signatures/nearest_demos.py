"""NearestDemos: chooses for each call the demos whose inputs are most like its own."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures.spec import SignatureSpec

__all__ = ["NearestDemos"]

_WORD = re.compile(r"\w+")


class NearestDemos:
    """Chooses demos by the words that they share with the inputs: the cosine of tf-idf weights.

    This needs no model, no download and no call. If no word is shared, the first demos are chosen.

    Args:
        spec: the signature, with the number of demos to choose.
        demos: the demos as prompts show them, in the order of the signature.
    """

    def __init__(self, spec: SignatureSpec, demos: Sequence[Mapping[str, Any]]) -> None:
        self._names, self._count = tuple(spec.inputs), spec.nearest_demos or len(demos)
        self._demos = demos
        counts = [self._words(demo) for demo in spec.demos]
        seen_in = Counter(word for words in counts for word in words)
        self._rarity = {word: math.log((1 + len(demos)) / (1 + number)) + 1 for word, number in seen_in.items()}
        self._index: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, words in enumerate(counts):
            for word, weight in self._weighted(words).items():
                self._index[word].append((number, weight))

    def choose(self, inputs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the nearest demos. The nearest comes last, next to the inputs in the prompt."""
        likeness = [0.0] * len(self._demos)
        for word, weight in self._weighted(self._words(inputs)).items():
            for number, other in self._index.get(word, ()):
                likeness[number] += weight * other
        ranked = sorted(range(len(likeness)), key=lambda number: (-likeness[number], number))
        return [self._demos[number] for number in reversed(ranked[: self._count])]

    def _words(self, values: Mapping[str, Any]) -> Counter[str]:
        texts = (values[name] for name in self._names if values.get(name) is not None)
        joined = " ".join(text if isinstance(text, str) else json.dumps(jsonable(text)) for text in texts)
        return Counter(_WORD.findall(joined.casefold()))

    def _weighted(self, words: Counter[str]) -> dict[str, float]:
        weights = {
            word: (1 + math.log(number)) * self._rarity[word] for word, number in words.items() if word in self._rarity
        }
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        return {word: weight / length for word, weight in weights.items()}
