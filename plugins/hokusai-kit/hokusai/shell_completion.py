"""The completion scripts of shells, and what they ask of the command while a word is completed."""

from __future__ import annotations

import os
import re
from typing import Final

from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

__all__ = ["SHELLS"]

_BASH: Final = """\
%(complete_func)s() {
    local response type value
    response=$(IFS=$'\\n'; env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDS="${COMP_WORDS[*]}" \\
        COMP_CWORD="$COMP_CWORD" COMP_WORD="$2" %(complete_var)s=bash_complete "${1:-%(prog_name)s}" 2>/dev/null)
    COMPREPLY=()
    while IFS=, read -r type value; do
        [[ -n $value ]] && COMPREPLY+=("$value")
        # FIELD= and folder/ are not the end of a word.
        [[ $value == *[=/] ]] && compopt -o nospace 2>/dev/null
    done <<< "$response"
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
_ZSH: Final = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local -a response described texts
    local type key help
    response=("${(@f)$(env COMP_WORDS="${(pj:\\n:)words}" COMP_CWORD=$((CURRENT-1)) %(complete_var)s=zsh_complete \\
        "${words[1]:-%(prog_name)s}" 2>/dev/null)}")
    for type key help in ${response}; do
        texts+=("$key")
        [[ $help == _ ]] && described+=("$key") || described+=("$key  -- $help")
    done
    (( $#texts )) || return 1
    # FIELD= and folder/ are not the end of a word.
    if [[ ${texts[1]} == *[=/] ]]; then
        compadd -U -S '' -l -d described -a texts
    else
        compadd -U -l -d described -a texts
    fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
#: What bash takes for more than text, where it is not quoted.
_SPECIAL: Final = re.compile(r"([\s\"'\\$`&|;<>()*?\[\]{}!#~])")
_PAIR: Final = re.compile(r"\\(.)")


class _Bash(BashComplete):
    """Completes words of bash, which takes ``field=value`` for three words and replaces only the last of them."""

    source_template = _BASH
    _cut, _quote, _prefix = 0, "", ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and that one up to the cursor."""
        line, word = os.environ.get("COMP_LINE", ""), os.environ.get("COMP_WORD", "")
        if line:
            words, self._quote = _split(line)
        else:  # a caller that sets the words only
            given = os.environ.get("COMP_WORDS", "").split("\n")[: int(os.environ.get("COMP_CWORD") or 0) + 1]
            words, word = _joined(given), given[-1].strip("=:@") and given[-1]
        current = words[-1]
        replaced = word if self._quote else _PAIR.sub(r"\1", word)
        self._prefix = _option_before(current)
        self._cut = len(current) - len(replaced) if current.endswith(replaced) else 0
        start = next((number for number, one in enumerate(words) if os.path.basename(one) == self.prog_name), 0)
        return words[start + 1 : -1], current

    def format_completion(self, item: CompletionItem) -> str:
        """Return a completion without what stays on the line."""
        value = f"{self._prefix}{item.value}"[self._cut :]
        if self._quote == '"':
            value = re.sub(r'(["\\$`])', r"\\\1", value)
        elif not self._quote:
            value = _SPECIAL.sub(r"\\\1", value)
        return f"plain,{value}"


class _Zsh(ZshComplete):
    source_template = _ZSH
    _prefix = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and that one."""
        words = [_split(word)[0][-1] for word in os.environ["COMP_WORDS"].split("\n")]
        number = int(os.environ["COMP_CWORD"])
        current = words[number] if number < len(words) else ""
        self._prefix = _option_before(current)
        return words[1:number], current

    def format_completion(self, item: CompletionItem) -> str:
        """Return a completion as three lines."""
        value = _SPECIAL.sub(r"\\\1", f"{self._prefix}{item.value}")
        return f"plain\n{value}\n{item.help or '_'}"


class _Fish(FishComplete):
    _prefix = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and that one."""
        words, current = super().get_completion_args()
        self._prefix = _option_before(current)
        return words, current

    def format_completion(self, item: CompletionItem) -> str:
        """Return a completion and what it means."""
        return super().format_completion(CompletionItem(f"{self._prefix}{item.value}", item.type, item.help))


SHELLS: Final[dict[str, type[ShellComplete]]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def _option_before(word: str) -> str:
    """Return ``--option=`` of ``--option=value``, which click leaves out of what it offers."""
    option, separator, _ = word.partition("=")
    return f"{option}=" if separator and option.startswith("-") else ""


def _split(line: str) -> tuple[list[str], str]:
    """Return the words of a line as the shell reads them, and the quote that is open at its end."""
    words: list[str] = []
    current: str | None = None
    quote = ""
    letters = iter(line)
    for letter in letters:
        if letter == "\\" and quote != "'":
            following = next(letters, "")
            kept = "" if not quote or following in '"\\$`' else "\\"
            current = (current or "") + kept + following
        elif quote and letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote, current = letter, current or ""
        elif not quote and letter.isspace():
            words += [] if current is None else [current]
            current = None
        else:
            current = (current or "") + letter
    return [*words, current or ""], quote


def _joined(words: list[str]) -> list[str]:
    """Return words with those put together again that bash has split at ``=``, ``:`` and ``@``."""
    found: list[str] = []
    glue = False
    for word in words:
        breaks = bool(word) and not word.strip("=:@")
        if found and (glue or (breaks and found[-1])):
            found[-1] += word
        else:
            found.append(word)
        glue = breaks
    return found
