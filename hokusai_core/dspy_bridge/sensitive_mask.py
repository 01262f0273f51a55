"""SensitiveMask: keeps the values of sensitive fields out of recorded requests and answers.

In requests, a sensitive value becomes a placeholder that names its field, ``<sensitive:customer>``. The same is done to
what is asked later, so the values themselves decide nothing. In answers, where a model may quote a part of a value, the
words that only the value has are replaced as well. When an answer is replayed, placeholders become the values that the
caller has given now. The value of a sensitive output is not kept: a made-up value of its type stands for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

from hokusai_core.dspy_bridge.text_markers import GAP, HEADER_OPENING, disarm_markers
from hokusai_core.json_encoding import jsonable
from hokusai_core.redaction import REDACTED
from hokusai_core.signatures.sample_values import sample_value
from hokusai_core.signatures.spec import SignatureSpec
from hokusai_core.signatures.text_json import NotJSON, parse_structure, without_fence

__all__ = ["SensitiveMask", "mapped_texts"]

_PLACEHOLDER = re.compile(r"<sensitive:[^<>]{1,200}>")
#: A word that may say something: letters from four on, or with a digit.
_WORD = re.compile(r"[^\W_]+")
#: Texts that are shorter are replaced only where they stand alone.
_SHORT: Final = 4
#: Names in requests and answers, which are no values.
_NAMES: Final = frozenset({
    "answers", "content", "cost", "finish_reason", "heard", "input", "message", "messages", "model", "name", "options",
    "outputs", "parts", "provider", "provider_code", "retry_after", "role", "status", "text", "type", "usage",
})  # fmt: skip


class SensitiveMask:
    """Replaces the values of sensitive fields of one execution.

    Args:
        spec: the signature.
        inputs: its bound inputs.
        safe: field -> its name in prompts.
    """

    def __init__(self, spec: SignatureSpec, inputs: Mapping[str, Any], safe: Mapping[str, str]) -> None:
        self._values: dict[str, str] = {}
        self._leaves: list[tuple[str, str]] = []
        #: Words that are in a request beside the values; None before the first request.
        self._public: set[str] | None = None
        self._outputs: dict[str, str] = {}
        for name in sorted(spec.sensitive):
            if name in spec.inputs:
                self._learn(name, inputs.get(name))
            else:
                self._outputs[safe.get(name, name)] = _sample_text(spec, name, inputs)
        for number, demo in enumerate(spec.demos, 1):
            for name in sorted(spec.sensitive & demo.keys()):
                self._learn(f"demo {number} {name}", demo[name])
        self._pattern: re.Pattern[str] | None = None
        self._words: re.Pattern[str] | None = None
        self._word_places: dict[str, str] = {}
        self._compile()

    def _learn(self, label: str, value: Any, *, shortest: int = 1, quoted: bool = True) -> None:
        """Take a value, and those inside of it, for sensitive from now on.

        Args:
            label: what placeholders call it.
            value: the value.
            shortest: characters that a text in it has at least.
            quoted: whether parts of it may be quoted, too.
        """
        for path, leaf in _leaves(label, value):
            if len(leaf) < shortest:
                continue
            if quoted:
                self._leaves.append((path, leaf))
            for form, text in _forms(leaf):
                self._values.setdefault(text, f"<sensitive:{path}{form}>")

    def _compile(self) -> None:
        texts = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_bounded, texts))) if texts else None
        words: dict[str, str] = {}
        for path, leaf in self._leaves:
            for number, word in enumerate(_WORD.findall(leaf), 1):
                telling = len(word) >= _SHORT or any(letter.isdigit() for letter in word)
                if telling and word.casefold() not in (self._public or ()):
                    words.setdefault(word.casefold(), f"<sensitive:{path}:{number}>")
        self._word_places = words
        known = sorted(map(re.escape, words), key=len, reverse=True)
        self._words = re.compile(rf"(?<![^\W_])(?:{'|'.join(known)})(?![^\W_])", re.I) if known else None

    @property
    def telling(self) -> frozenset[str]:
        """The sensitive texts that hardly stand anywhere by chance."""
        return frozenset(
            leaf
            for _, leaf in self._leaves
            if len(leaf) >= 4 * _SHORT or (len(leaf) >= 2 * _SHORT and any(map(str.isdigit, leaf)))
        )

    def request(self, asked: Any) -> Any:
        """Return the options and messages of a request without sensitive values."""
        masked = mapped_texts(asked, self._without_values)
        if self._public is None:
            self._public = {word.casefold() for text in _texts(masked) for word in _WORD.findall(text)}
            self._compile()
            return masked
        return mapped_texts(masked, self._without_words)  # it may quote earlier answers

    def answer(self, response: Mapping[str, Any], messages: Any) -> Mapping[str, Any]:
        """Return a response without sensitive values; one word for it if they cannot be separated from it.

        Args:
            response: the response, as a cassette keeps it.
            messages: the request, which says for which outputs it asks.
        """
        asked = "\n".join(_texts(messages))
        masked, certain = self._without_outputs(response, asked)
        clean: Mapping[str, Any] = mapped_texts(masked, self._text) if certain else {"withheld": True}
        return clean

    def error(self, error: Mapping[str, Any], messages: Any) -> Mapping[str, Any]:
        """Return an error of a provider without sensitive values."""
        asked = "\n".join(_texts(messages))
        heard = {"text": error["heard"], "finish_reason": "error"} if "heard" in error else {}
        masked = self._without_outputs(heard, asked)[0]
        rest = {name: value for name, value in error.items() if name != "heard"}
        clean: Mapping[str, Any] = mapped_texts({**rest, **({"heard": masked["text"]} if heard else {})}, self._text)
        return clean

    def restored(self, recorded: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a recorded response or error with the values of this execution in place of placeholders."""
        known = {place: text for text, place in self._values.items()}
        for path, leaf in self._leaves:
            known |= {f"<sensitive:{path}:{at}>": word for at, word in enumerate(_WORD.findall(leaf), 1)}
        data = mapped_texts(recorded, lambda text: _PLACEHOLDER.sub(lambda at: known.get(at[0], REDACTED), text))
        self._without_outputs(data, None)  # what stands for sensitive outputs is left out of later requests, too
        restored: Mapping[str, Any] = data
        return restored

    def _without_outputs(self, value: Any, asked: str | None) -> tuple[Any, bool]:
        """Return an answer with samples in place of sensitive outputs, and whether all of them were found.

        Args:
            value: the answer, or a part of it.
            asked: the request; None for an answer that is replayed.
        """
        if not self._outputs or isinstance(value, (int, float, type(None))):
            return value, True
        if isinstance(value, str):
            return self._text_without_outputs(value, asked)
        if isinstance(value, list):
            items = [self._without_outputs(item, asked) for item in value]
            return [item for item, _ in items], all(certain for _, certain in items)
        made, certain, whole = {}, True, value.get("finish_reason") in (None, "stop", "tool_call")
        for name, item in value.items():
            if name in ("text", "message", "parts", "answers", "outputs", "heard"):
                made[name], found = self._without_outputs(item, asked)
                if not found and not whole:  # what the answer says is of no use, how it ended is
                    made[name], found = REDACTED if isinstance(item, str) else made[name], True
                certain &= found
            else:
                made[name] = item
        return made, certain

    def _text_without_outputs(self, text: str, asked: str | None) -> tuple[str, bool]:
        certain = True
        for name, sample in self._outputs.items():
            found = _replaced(text, name, sample)
            if found is not None:
                text, values = found
                for value in values:
                    if asked is not None:
                        self._learn(f"output {name}", value, shortest=3)
                    elif isinstance(value, str):  # a number that was made up may stand anywhere
                        self._learn(f"output {name}", value, shortest=_SHORT, quoted=False)
            elif asked is not None and re.search(rf"\b{re.escape(name)}\b", asked):
                certain = False
        self._compile()
        return text, certain

    def _text(self, text: str) -> str:
        return self._without_words(self._without_values(text))

    def _without_values(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: self._values[found[0]], text)

    def _without_words(self, text: str) -> str:
        if self._words is None:
            return text
        kept, parts, at = self._words, [], 0
        for place in _PLACEHOLDER.finditer(text):  # no word inside of one is replaced
            parts += [kept.sub(self._word, text[at : place.start()]), place[0]]
            at = place.end()
        return "".join([*parts, kept.sub(self._word, text[at:])])

    def _word(self, found: re.Match[str]) -> str:
        return self._word_places.get(found[0].casefold(), REDACTED)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts and numbers in a value, with where they are.

    The keys of a mapping are values, too; the names of the fields of a model are not.
    """
    if isinstance(value, Mapping):
        for number, (key, item) in enumerate(value.items(), 1):
            yield from _leaves(f"{path}.key {number}", key)
            yield from _leaves(f"{path}.{number}", item)
        return
    if isinstance(value, (list, tuple, set, frozenset)):
        ordered = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        for number, item in enumerate(ordered, 1):
            yield from _leaves(f"{path}[{number}]", item)
        return
    try:
        plain = jsonable(value)
    except (TypeError, ValueError):
        plain = str(value)
    if isinstance(plain, dict):  # a model
        for name, item in plain.items():
            yield from _leaves(f"{path}.{name}", getattr(value, name, item))
    elif isinstance(plain, (str, int, float)) and not isinstance(plain, bool) and str(plain).strip():
        yield path, str(plain)


def _forms(leaf: str) -> Iterator[tuple[str, str]]:
    """Yield the ways in which a text may stand in a prompt or answer, with a mark for each."""
    once = json.dumps(leaf, ensure_ascii=False)[1:-1]
    yield "", leaf
    if leaf.strip() != leaf:
        yield "#stripped", leaf.strip()
    for mark, text in (
        ("#json", once),
        ("#ascii", json.dumps(leaf)[1:-1]),
        ("#json2", json.dumps(once, ensure_ascii=False)[1:-1]),
        ("#marked", disarm_markers(leaf)),
        ("#xml", escape(leaf)),
    ):
        if text != leaf:
            yield mark, text


def _bounded(text: str) -> str:
    pattern = re.escape(text)
    return rf"(?<![^\W_]){pattern}(?![^\W_])" if len(text) < _SHORT or text.isdigit() else pattern


def _replaced(text: str, name: str, sample: str) -> tuple[str, list[Any]] | None:
    """Return an answer with ``sample`` as the value of an output, and the values that it had; None if it has none."""
    header = re.compile(
        rf"({HEADER_OPENING}{GAP}{re.escape(name)}{GAP}##{GAP}\]\]{GAP}\n?)(.*?)(?=\n?{HEADER_OPENING}|\Z)", re.I | re.S
    )
    found = [match[2].strip() for match in header.finditer(text)]
    if found:
        return header.sub(lambda match: f"{match[1]}{sample}\n", text), [_structure(value) for value in found]
    tags = re.compile(rf"(<{re.escape(name)}\s*>)(.*?)(</{re.escape(name)}\s*>|\Z)", re.I | re.S)
    found = [match[2].strip() for match in tags.finditer(text)]
    if found:
        return tags.sub(lambda match: f"{match[1]}{escape(sample)}{match[3]}", text), [_structure(one) for one in found]
    start, end = text.find("{"), text.rfind("}") + 1
    whole = _structure(text[start:end]) if 0 <= start < end else None
    if isinstance(whole, dict) and name in whole:
        value = whole[name]
        return json.dumps({**whole, name: _structure(sample)}, ensure_ascii=False), [value]
    return None


def _structure(text: str) -> Any:
    try:
        return parse_structure(without_fence(text))
    except NotJSON:
        return text


def _sample_text(spec: SignatureSpec, name: str, inputs: Mapping[str, Any]) -> str:
    """Return the text of a made-up value for a sensitive output."""
    item = spec.outputs[name]
    if item.choices_from:
        first = next(iter(inputs.get(item.choices_from) or ["choice"]))
        value: Any = [first] if item.shape.kind == "list" else first
    else:
        value = jsonable(sample_value(item, [example["outputs"] for example in spec.examples]))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def mapped_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return JSON-able data with every text in it changed, keys that are no names of this format included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key if key in _NAMES else change(key): mapped_texts(item, change) for key, item in value.items()}
    return [mapped_texts(item, change) for item in value] if isinstance(value, (list, tuple)) else value


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
