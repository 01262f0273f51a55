"""What a look-up costs with other libraries, for ``cache.py --peers``; runs in an environment that has them.

Prints JSON: library -> ``hits`` (measurement -> seconds) and ``grown`` (seconds of a look-up among as many entries as
the argument says, None where it says none).
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_TEXT = "Dear all, the project is well on its way. " * 8
_COUNT = 300


def median(work: Callable[[str], Any], prompts: Sequence[str]) -> float:
    """Return the median seconds of one call."""
    times = []
    for prompt in prompts:
        since = time.perf_counter()
        work(prompt)
        times.append(time.perf_counter() - since)
    return statistics.median(times)


def langchain(folder: Path, entries: int) -> dict[str, Any]:
    """Ask a chat model that answers at once, with each of LangChain's caches."""
    from langchain_community.cache import InMemoryCache, SQLiteCache
    from langchain_core.language_models import FakeListChatModel

    prompts = [f"Write to person {number} about the project." for number in range(_COUNT)]
    memory = FakeListChatModel(responses=[_TEXT], cache=InMemoryCache())
    store = SQLiteCache(database_path=str(folder / "langchain.db"))
    disk = FakeListChatModel(responses=[_TEXT], cache=store)
    memory.invoke("warm up")
    disk.invoke("warm up")
    hits: dict[str, float] = {}
    median(memory.invoke, prompts)
    hits["memory hit"] = median(memory.invoke, prompts)
    hits["miss with store"] = median(disk.invoke, prompts)
    hits["disk hit, fresh process"] = median(disk.invoke, prompts)
    if not entries:
        return {"hits": hits, "grown": None}
    with sqlite3.connect(folder / "langchain.db") as connection:
        ((prompt, model, text),) = connection.execute("SELECT prompt, llm, response FROM full_llm_cache LIMIT 1")
        rows = ((f"{prompt} {number}", model, 0, text) for number in range(entries - _COUNT))
        connection.executemany("INSERT INTO full_llm_cache (prompt, llm, idx, response) VALUES (?, ?, ?, ?)", rows)
    return {"hits": hits, "grown": median(disk.invoke, prompts)}


def llm_log(folder: Path, entries: int) -> dict[str, Any]:
    """Ask the log that ``llm`` keeps for the answer to the same prompt of the same model; it has no other cache."""
    import sqlite_utils
    from llm.migrations import migrate

    database = sqlite_utils.Database(folder / "logs.db")
    migrate(database)
    prompts = [f"Write to person {number} about the project." for number in range(_COUNT)]
    more = (f"Write to person {number} about the project." for number in range(_COUNT, max(_COUNT, entries)))
    with database.conn:
        database.conn.executemany(
            "INSERT INTO responses (id, model, prompt, response, options_json) VALUES (?, 'null', ?, ?, '{}')",
            ((f"{number:026}", prompt, _TEXT) for number, prompt in enumerate([*prompts, *more])),
        )

    def look_up(prompt: str) -> str:
        query = "SELECT response FROM responses WHERE model = ? AND prompt = ? ORDER BY id DESC LIMIT 1"
        ((text,),) = database.execute(query, ("null", prompt)).fetchall()
        return str(text)

    cost = median(look_up, prompts[:: 1 if entries <= 10_000 else 30])
    return {"hits": {} if entries else {"disk hit, fresh process": cost}, "grown": cost if entries else None}


def main() -> None:
    """Print the figures."""
    entries = int(sys.argv[1])
    found: dict[str, Any] = {}
    for name, measure in (("langchain SQLiteCache", langchain), ("llm log (300 entries)", llm_log)):
        with tempfile.TemporaryDirectory() as place:
            try:
                found[name.partition(" (")[0] if entries else name] = measure(Path(place), entries)
            except ImportError as error:
                print(f"{name}: left out: {error}", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
