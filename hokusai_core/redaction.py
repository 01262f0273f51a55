"""Redaction: what stands for a sensitive value, and texts without credentials."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from typing import Final

__all__ = [
    "REDACTED",
    "RedactedError",
    "hidden",
    "printable_cause",
    "quoted",
    "scrub",
    "scrubbed_error",
    "without_credentials",
]

#: Stands where the value of a sensitive field was.
REDACTED: Final = "[redacted]"

#: Characters that are quoted of an error; messages of providers can hold a whole request.
_LONGEST = 300

# Each takes time in proportion to the text: a provider may send a long one.
_CREDENTIALS: Final = (
    # key=value and "key": "value", whatever the value looks like. What stands before the word is not looked at: a
    # pattern that tries every place where a name may begin takes quadratic time on a text such as a-a-a-a.
    r"""(?ix) ((?:api[_-]?key|access[_-]?key|secret|token|password|passwd|authorization) ["']?\s*[:=]\s*)
        (?!["']?(?:\.\.\.|\[redacted\])) (?:bearer\s+|basic\s+)? (?: "[^"]*" | '[^']*' | [^\s,;&)}\]]+ )""",
    r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}",
    # keys that are known by their look
    r"(\b)(?:sk|pk|rk|gsk|xai|hf|ghp|gho|glpat|pplx|nvapi|r8|AKIA|AIza|ya29)[-_.]?[A-Za-z0-9_*.-]{10,}",
    # what a picture or file holds, which is as much as a prompt
    r"(data:[\w.+-]{1,60}/[\w.+-]{1,60}(?:;[\w.+=-]{1,60}){0,4};base64,)[A-Za-z0-9+/=]{32,}",
    r"(\b[A-Za-z][A-Za-z0-9+.-]{0,20}://)[^/\s:@]*:[^/\s@]+(?=@)",
)


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, _CREDENTIALS))  # when a text is there: the start of a command compiles nothing


def scrub(text: str) -> str:
    """Return ``text`` without what looks like a credential."""
    for pattern in _patterns():
        text = pattern.sub(r"\1[redacted]", text)
    return text


def scrubbed_error(error: BaseException) -> str:
    """Return class and text of an error that a component raised, without what looks like a credential."""
    return f"{type(error).__name__}: {scrub(str(error))}"


def hidden(text: str, credentials: Collection[str] = ()) -> str:
    """Return ``text`` without credentials, otherwise as it is.

    Args:
        text: what a component or provider said.
        credentials: texts that are left out, whatever they look like.
    """
    for credential in sorted(credentials, key=len, reverse=True):
        text = text.replace(credential, REDACTED)
    return scrub(text)


def quoted(text: str, credentials: Collection[str] = ()) -> str:
    """Return what a component or provider said in one line, shortened, without credentials."""
    text = " ".join(hidden(text, credentials).split())
    return text[:_LONGEST].rstrip(". ") + (" ..." if len(text) > _LONGEST else "")


class RedactedError(Exception):
    """Stands for an error of a component or provider whose text holds a credential or quotes a whole request."""


def printable_cause(
    error: BaseException, credentials: Collection[str] = (), *, longest: int | None = None
) -> BaseException:
    """Return ``error``, or what stands for it where printing it with its causes would show a credential.

    Args:
        error: what was raised.
        credentials: texts that must not be shown, beside those that look like credentials.
        longest: characters of a text that may be shown; None for no bound.
    """
    if not any(_tells_too_much(one, credentials, longest) for one in _all_printed(error)):
        return error
    stand_in: RedactedError | None = None
    for one in reversed(_chain(error)):
        text = quoted(str(one), credentials)
        named = RedactedError(f"{type(one).__name__}: {text}" if text else type(one).__name__)
        named.__traceback__, named.__cause__ = one.__traceback__, stand_in
        stand_in = named
    return stand_in or error


def without_credentials(error: Exception) -> Exception:
    """Return ``error`` without credentials in its text, notes and causes: itself, changed, if its class allows it."""
    if printable_cause(error) is error:
        return error
    error.args = tuple(scrub(part) if isinstance(part, str) else part for part in error.args)
    if hasattr(error, "__notes__"):
        error.__notes__ = [scrub(str(note)) for note in error.__notes__]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    error.__cause__ = None if cause is None else printable_cause(cause)  # which hides the context, too
    if printable_cause(error) is error:
        return error
    return RedactedError(scrubbed_error(error))


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error with its causes, the last of them last."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return chain


def _all_printed(error: BaseException) -> list[BaseException]:
    """Return every error that a traceback of ``error`` shows: its causes, and those in groups with their causes."""
    seen: dict[int, BaseException] = {}
    waiting = [error]
    while waiting:
        for one in _chain(waiting.pop()):
            if id(one) not in seen:
                seen[id(one)] = one
                waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return list(seen.values())


def _tells_too_much(error: BaseException, credentials: Collection[str], longest: int | None) -> bool:
    try:
        texts = [str(error), *map(str, getattr(error, "__notes__", ()))]
    except Exception:  # an exception class of a plugin may itself be broken
        return False
    return any((longest is not None and len(text) > longest) or text != hidden(text, credentials) for text in texts)
