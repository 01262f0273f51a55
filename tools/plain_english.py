"""Find phrases that make a reader stop: each has a plainer one.

python tools/plain_english.py            # every Python file and page of the repository
python tools/plain_english.py docs       # those under a folder
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["PHRASES", "findings", "repository_findings"]

#: Phrase (a regular expression, case ignored) -> what to write.
PHRASES: dict[str, str] = {
    r"\bwhoever\b": "name the reader: the caller, the host, the plugin",
    r"\bnobody\b": "name what does not happen, or who does not do it",
    r"\bsomebody\b|\bsomeone\b": "name the person: the user, the reviewer, the host",
    r"\beverybody\b": "name them: all callers, every user",
    r"\bis no answer\b": "is not an answer, is not usable",
    r"\bfirst that is there\b": "the first one available",
    r"\btold at once\b": "reported immediately",
    r"\b(?:be|is|are|was|were) told(?: of)?\b": "is notified, is given, is reported",
    r"\bhears? (?:of|that)\b": "is notified of",
    r"\ban? \w+ a (?:task|row|step|call|time)\b": "one ... per ...",
    r"\bDo as ``?\w+``?": "Async version of ..., Like ..., but ...",
    r"\bwhat it came to\b": "the result",
    r"\ball the same\b": "anyway, still",
    r"\bnone of ours\b": "does not belong to this project",
    r"\bmade anew\b": "created again, rebuilt",
    r"\bwants to hear\b": "asks for",
    r"\bis no (?:(?-i:[A-Z`])|file|folder|name|list|number|text)": "is not a ...",
    r"\blet alone\b": "leave out, or say it in two sentences",
    r"\bhave to be able to\b|\bhas to be able to\b": "must",
    r"\bstands? in for\b": "replaces",
    r"\bon the far side of\b": "behind",
    r"\bby the way\b": "leave out",
}

_COMPILED = [(re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in PHRASES.items()]
# The first four speak of the phrases themselves. The others hold texts for language models, where a new wording
# changes the prompt.
_EXEMPT = {
    "tools/plain_english.py",
    "tests/packaging/test_architecture.py",
    "CHANGELOG.md",
    "LICENSE",
    "benchmarks/embedded_cases.py",
    "plugins/hokusai-signatures/hokusai_signatures/analysis.py",
    "plugins/hokusai-signatures/hokusai_signatures/generation.py",
    "plugins/hokusai-signatures/hokusai_signatures/tasks.py",
}


def findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the phrase and the advice for each phrase in a text."""
    session = False  # of a page: what commands print may quote data
    for number, line in enumerate(text.splitlines(), 1):
        session = line == "```console" or (session and line != "```")
        if session:
            continue
        for pattern, advice in _COMPILED:
            match = pattern.search(line)
            if match:
                yield number, match[0], advice


def _files(root: Path, places: Sequence[str]) -> list[Path]:
    command = ["git", "ls-files", "--", *(places or ["*.py", "*.md"])]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split()
    return [root / name for name in listed if name.endswith((".py", ".md")) and name not in _EXEMPT]


def repository_findings(places: Sequence[str] = ()) -> list[str]:
    """Return every finding as ``file:line: phrase (advice)``.

    Args:
        places: files and folders, relative to the repository; none for all of it.
    """
    root = Path(__file__).resolve().parents[1]
    return [
        f"{path.relative_to(root)}:{number}: {phrase!r} ({advice})"
        for path in _files(root, places)
        for number, phrase, advice in findings(path.read_text(encoding="utf-8"))
    ]


def main() -> int:
    """Print every finding; return 1 if there is one."""
    found = repository_findings(sys.argv[1:])
    for line in found:
        print(line)
    print(f"{len(found)} phrases to rewrite", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
