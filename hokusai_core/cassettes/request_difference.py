"""Explains why a request is not in a cassette: what differs from the recorded request that is nearest to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from hokusai_core.cassettes.cassette_file import Interaction

__all__ = ["explain_miss", "parts_of"]

#: Recorded requests that are compared word by word with what was asked; of more, those that share most parts.
_CANDIDATES: Final = 20
#: Differences that a message shows, and characters of each of their texts.
_MOST, _SHOWN = 6, 60
#: Characters of a text before its first difference.
_BEFORE: Final = 12
#: Characters that decide which request is nearest.
_COMPARED: Final = 2_000

_HEADER = re.compile(r"^\[\[ ## (\w+) ## \]\][ \t]*\n?", re.M)
_TAGS = re.compile(r"^<(\w+)>\n(.*?)\n</\1>$", re.M | re.S)
_FIELD = re.compile(r"^\d+\. `(\w+)` ", re.M)
_OBJECTIVE: Final = "In adhering to this structure, your objective is:"
_STRUCTURE: Final = "All interactions will be structured"
_REMINDER = re.compile(r"\n\n(?=Respond with (?:the corresponding|a JSON object))")


def explain_miss(asked: Interaction, recorded: Sequence[Interaction], *, path: str, mode: str, times: int) -> str:
    """Return why a cassette has no answer, and what to do.

    Args:
        asked: what was asked.
        recorded: what the cassette holds.
        path: the cassette, as it is shown.
        mode: its mode.
        times: how often the same request was recorded.
    """
    subject = f"signature {asked.signature!r}: " if asked.signature else ""
    remedy = "Record it with record_mode='new_episodes', or everything anew with record_mode='all'"
    if times:
        return (
            f"{subject}the cassette {path} has {times} answer{'s' if times > 1 else ''} to this request, and it is "
            f"made once more. {remedy}; allow_playback_repeats=True gives the last answer again"
        )
    if not recorded:
        return f"{subject}the cassette {path} holds no call (record_mode {mode!r}). {remedy}"
    nearest, differences = _nearest(asked, recorded)
    shown = "".join(f"\n- {line}" for line in differences[:_MOST])
    more = f"\n- {len(differences) - _MOST} more" if len(differences) > _MOST else ""
    count = f"the nearest of its {len(recorded)} calls" if len(recorded) > 1 else "the call in it"
    other = "" if nearest.signature == asked.signature else f", of signature {nearest.signature!r},"
    return (
        f"{subject}the cassette {path} has no answer to this request (record_mode {mode!r}). It differs from {count}"
        f"{other} in:{shown}{more}\n{remedy}"
    )


def parts_of(request: Mapping[str, Any]) -> dict[str, str]:
    """Return what a request consists of, by names that people know: field, instruction, demo, parameter, model."""
    parts = {"model": str(request["model"])}
    parts |= {f"parameter {name}": _text(value) for name, value in request["options"].items()}
    messages = request["messages"]
    last = max((at for at, one in enumerate(messages) if one.get("role") == "user"), default=len(messages) - 1)
    shown = 0
    for at, message in enumerate(messages):
        role, content = message.get("role"), _text(message.get("content"))
        if role in ("system", "developer"):
            parts |= _of_system(content)
        elif at == last:
            parts |= _of_fields(content, "field ", "message of the user")
        elif at < last:
            shown += role == "user"
            parts |= _of_fields(content, f"demo {max(shown, 1)}, field ", f"demo {max(shown, 1)}, {role}")
        else:
            parts[f"message {at + 1}, {role}"] = content
        extra = {name: value for name, value in message.items() if name not in ("role", "content")}
        if extra:
            parts[f"message {at + 1}, {', '.join(extra)}"] = _text(extra)
    return parts


def _of_system(text: str) -> dict[str, str]:
    fields, structure, rest = text.partition(_STRUCTURE)
    form, objective, instruction = rest.partition(_OBJECTIVE)
    if not (structure and objective):
        return {"instruction": text}
    found = {"instruction": "\n".join(line.strip() for line in instruction.strip().splitlines())}
    starts = [*_FIELD.finditer(fields)]
    for this, following in zip(starts, [*starts[1:], None], strict=True):
        end = len(fields) if following is None else following.start()
        found[f"definition of field {this[1]}"] = fields[this.end() : end].partition("\nYour output fields")[0].strip()
    return {**found, "form of the answer": form.strip()}


def _of_fields(text: str, label: str, whole: str) -> dict[str, str]:
    """Return the values of the fields in a message by label; the whole message where it has none."""
    body, reminder = text, ""
    if (cut := _REMINDER.search(text)) is not None:
        body, reminder = text[: cut.start()], text[cut.end() :]
    starts = [*_HEADER.finditer(body)]
    if starts:
        ends = [*(one.start() for one in starts[1:]), len(body)]
        found = {f"{label}{this[1]}": body[this.end() : end].strip() for this, end in zip(starts, ends, strict=True)}
        found.pop(f"{label}completed", None)
    else:
        found = {f"{label}{name}": value for name, value in _TAGS.findall(body)} or {whole: body}
    return {**found, **({"reminder of the form": reminder} if reminder else {})}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _nearest(asked: Interaction, recorded: Sequence[Interaction]) -> tuple[Interaction, list[str]]:
    wanted = parts_of(asked.request)
    unique = list({one.key: one for one in recorded}.values())
    counted = [(_shared(wanted, parts := parts_of(one.request)), one, parts) for one in unique]
    counted.sort(key=lambda item: (item[1].signature != asked.signature, -item[0]))
    nearest, parts = max(
        ((one, parts) for _, one, parts in counted[:_CANDIDATES]),
        key=lambda item: (item[0].signature == asked.signature, _likeness(wanted, item[1])),
    )
    return nearest, list(_differences(parts, wanted))


def _shared(wanted: Mapping[str, str], parts: Mapping[str, str]) -> int:
    return sum(parts.get(name) == text for name, text in wanted.items()) - len(parts.keys() ^ wanted.keys())


def _likeness(wanted: Mapping[str, str], parts: Mapping[str, str]) -> float:
    """Return how many parts are alike; one that differs in part counts in part."""
    score = float(_shared(wanted, parts))
    for name in wanted.keys() & parts.keys():
        if wanted[name] != parts[name]:
            score += SequenceMatcher(None, wanted[name][:_COMPARED], parts[name][:_COMPARED]).quick_ratio() / 2
    return score


def _differences(recorded: Mapping[str, str], asked: Mapping[str, str]) -> Iterator[str]:
    for name in [*recorded, *(name for name in asked if name not in recorded)]:
        before, now = recorded.get(name), asked.get(name)
        if before is None:
            yield f"{name}: recorded without it, asked with {_quoted(now or '')}"
        elif now is None:
            yield f"{name}: recorded with {_quoted(before)}, asked without it"
        elif before != now:
            pairs = zip(before, now, strict=False)
            same = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(before), len(now)))
            start = max(0, same - _BEFORE)
            yield f"{name}: recorded {_quoted(before, start)}, asked {_quoted(now, start)}"


def _quoted(text: str, start: int = 0) -> str:
    """Return a text from ``start`` on, in one line and shortened."""
    start = 0 if len(text) <= _SHOWN else start
    end = start + _SHOWN
    return repr(("..." if start else "") + text[start:end] + ("..." if len(text) > end else ""))
