"""The characters that an answer may contain."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

__all__ = ["Alphabet", "needs_other_scripts"]

# Beyond ASCII only letters of Latin script and common typography. Emoji and other scripts take three tokens a
# character and more, and a small model that starts on them does not find its way out.
_LATIN = "\\u00a1-\\u024f\\u2013\\u2014\\u2018\\u2019\\u201c\\u201d\\u2022\\u20ac"
_QUESTION_WORDS = "What|Which|When|Where|Who|Why|How|(Do|Did|Are|Were|Have|Can|Could|Would|Will) you"
_OTHER_SCRIPT = re.compile(r"[\u0250-\u1fff\u2c00-\ud7ff\uf900-\ufaff\uff00-\uffef]")


@frozen
class Alphabet:
    """Character classes for grammars, as regular expressions.

    Args:
        code: whether brackets, braces and angle brackets may occur. Where an answer is prose they only serve
            placeholders such as ``[Name]`` or ``{draft}``, which small models like to leave in letters and summaries.
        wide: whether scripts other than Latin may occur.
        english: whether questions begin with a question word of English, the one language of the smallest models,
            which otherwise tell what the question should be about.
    """

    code: bool = True
    wide: bool = False
    english: bool = False

    @property
    def first(self) -> str:
        """Class of an answer's first character: visible, and in prose no sign that opens something else."""
        if self.wide:
            return r"[^\x00-\x20\x7f]" if self.code else r"[^\x00-\x20\x7f\[\]{}<>]"
        return f"[!-~{_LATIN}]" if self.code else "[A-Za-z0-9\"'\\u00bf-\\u024f\\u201c]"

    @property
    def rest(self) -> str:
        """Class of the other characters of a line."""
        if self.wide:
            return r"[^\x00-\x1f\x7f]" if self.code else r"[^\x00-\x1f\x7f\[\]{}<>]"
        return f"[ -~{_LATIN}]" if self.code else f"[ -;=?-Z\\\\^-z|~{_LATIN}]"

    @property
    def question(self) -> str:
        """Expression for one question: a single sentence, so that it does not begin with an answer."""
        if self.wide:
            return f"{self.first}{self.rest}{{1,140}}"
        start = f"({_QUESTION_WORDS}) " if self.english else "[A-Z\\u00bf-\\u00de]"
        return start + "([ $-)+,\\-0-9;=@-Z_a-z]|[\\u00a1-\\u024f\\u2019]){8,140}\\?"


def needs_other_scripts(texts: Iterable[str]) -> bool:
    """Return whether texts hold letters of another script than Latin, so that an answer may need them, too."""
    return any(_OTHER_SCRIPT.search(text) for text in texts)
