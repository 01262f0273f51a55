"""The sides of ``benchmarks/wire.py``, each in a process of its own: ways to ask a server of chat completions.

Every side asks for the same thing: from three inputs, five typed outputs. The process reads commands from its standard
input, one JSON object a line, and answers each with one line. It imports only what its side needs, so that a side may
run in another environment than the others.

    python benchmarks/_wire_sides.py plugin http://127.0.0.1:41234/v1
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

KEY = "sk-of-the-benchmark"
INSTRUCTIONS = "Sort a support ticket and say how sure you are."
INPUTS: dict[str, Any] = {
    "ticket": "It broke again. I want my money back.",
    "products": ["Lamp", "Desk"],
    "age": 3,
}
OUTPUTS: dict[str, Any] = {
    "summary": "A customer wants money back for a lamp.",
    "affected": ["Lamp"],
    "urgency": "high",
    "confidence": 0.9,
    "refund": True,
}
#: What the server answers a side that asks for chat markers, and one that asks for JSON.
TEXT = (
    "\n\n".join(
        f"[[ ## {name} ## ]]\n{value if isinstance(value, str) else json.dumps(value)}"
        for name, value in OUTPUTS.items()
    )
    + "\n\n[[ ## completed ## ]]"
)
JSON = json.dumps(OUTPUTS)
Urgency = Literal["low", "normal", "high"]


class Side(ABC):
    """One way to ask.

    Args:
        url: address of the server, with ``/v1``.
        model: name of the model, which decides how the server behaves.
    """

    format: ClassVar[str] = TEXT

    def __init__(self, url: str, model: str) -> None:
        self.url, self.model = url, model
        self.threads: dict[int, ThreadPoolExecutor] = {}

    @abstractmethod
    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Ask once and return the outputs."""

    @abstractmethod
    async def acall(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Async version of ``call``."""

    def many(self, rows: Sequence[dict[str, Any]], in_flight: int) -> int:
        """Ask for every row, so many at once, and return how many answers are right."""
        if in_flight not in self.threads:
            self.threads[in_flight] = ThreadPoolExecutor(in_flight)
        return sum(map(right, self.threads[in_flight].map(self.call, rows)))

    async def amany(self, rows: Sequence[dict[str, Any]], in_flight: int) -> int:
        """Async version of ``many``."""
        permits = asyncio.Semaphore(in_flight)

        async def one(row: dict[str, Any]) -> bool:
            async with permits:
                return right(await self.acall(row))

        return sum(await asyncio.gather(*map(one, rows)))


def right(outputs: dict[str, Any]) -> bool:
    """Whether the outputs are what the server has answered, apart from the tag in it."""
    return {**outputs, "summary": OUTPUTS["summary"]} == OUTPUTS


def dspy_signature() -> Any:
    """Return the signature for DSPy."""
    import dspy

    class Triage(dspy.Signature):
        """Sort a support ticket and say how sure you are."""

        ticket: str = dspy.InputField(desc="The ticket as the customer wrote it")
        products: list[str] = dspy.InputField(desc="Names of our products")
        age: int = dspy.InputField(desc="Days since it was written")
        summary: str = dspy.OutputField(desc="One sentence")
        affected: list[str] = dspy.OutputField(desc="Products that the ticket is about")
        urgency: Urgency = dspy.OutputField(desc="How soon the team has to act")
        confidence: float = dspy.OutputField(desc="From 0 to 1")
        refund: bool = dspy.OutputField(desc="Whether the customer asks for money back")

    return Triage


def dspy_model(url: str, model: str) -> Any:
    """Return a language model over DSPy's own client."""
    import dspy

    return dspy.LM(f"openai/{model}", api_base=url, api_key=KEY, cache=False, num_retries=0)


class Predict(Side):
    """``dspy.Predict`` with DSPy's own client."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(url, model)
        import dspy

        self.predict, self.lm = dspy.Predict(dspy_signature()), dspy_model(url, model)
        dspy.configure(lm=self.lm, disable_history=True)

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Ask once."""
        return dict(self.predict(lm=self.lm, **inputs).toDict())

    async def acall(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Async version of ``call``."""
        return dict((await self.predict.acall(lm=self.lm, **inputs)).toDict())


class Hokusai(Side):
    """``Executor.execute_signature`` with DSPy's own client."""

    plugins: ClassVar[list[str]] = []

    def __init__(self, url: str, model: str) -> None:
        super().__init__(url, model)
        from hokusai_core import Executor

        self.executor = Executor(lm=self.language_model(), plugins=self.plugins, cache_enabled=False)
        self.executor.register_signature("Triage", dspy_signature())

    def language_model(self) -> Any:
        """Return the language model, or its name."""
        return dspy_model(self.url, self.model)

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Ask once."""
        return dict(self.executor.execute_signature("Triage", inputs).outputs)

    async def acall(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Async version of ``call``."""
        return dict((await self.executor.aexecute_signature("Triage", inputs)).outputs)

    def many(self, rows: Sequence[dict[str, Any]], in_flight: int) -> int:
        """Ask for every row as one batch."""
        return sum(right(dict(r.outputs)) for r in self.executor.execute_batch("Triage", rows, max_workers=in_flight))

    async def amany(self, rows: Sequence[dict[str, Any]], in_flight: int) -> int:
        """Async version of ``many``."""
        done = await self.executor.aexecute_batch("Triage", rows, max_workers=in_flight)
        return sum(right(dict(r.outputs)) for r in done)


class Plugin(Hokusai):
    """``Executor.execute_signature`` with the engine of hokusai-openai."""

    plugins: ClassVar[list[str]] = ["openai"]

    def language_model(self) -> Any:
        """Return the language model, or its name."""
        return f"{self.url}#{self.model}"


def json_prompt(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages that a user of a plain client would write."""
    form = ", ".join(f'"{name}": ...' for name in OUTPUTS)
    asked = "\n".join(f"{name}: {json.dumps(value)}" for name, value in inputs.items())
    return [
        {"role": "system", "content": f"{INSTRUCTIONS} Answer with a JSON object {{{form}}}."},
        {"role": "user", "content": asked},
    ]


def triage_model() -> Any:
    """Return the outputs as a pydantic model."""
    import pydantic

    fields: dict[str, Any] = {
        "summary": (str, ...),
        "affected": (list[str], ...),
        "urgency": (Urgency, ...),
        "confidence": (float, ...),
        "refund": (bool, ...),
    }
    return pydantic.create_model("Triage", **fields)


class OpenAISDK(Side):
    """The openai SDK, whose answer pydantic reads."""

    format = JSON

    def __init__(self, url: str, model: str) -> None:
        super().__init__(url, model)
        self.library: Any = import_module("openai")
        self.form = triage_model()
        self.client = self.library.OpenAI(base_url=url, api_key=KEY, max_retries=0)
        self.async_client: Any = None

    def read(self, answer: Any) -> dict[str, Any]:
        """Return the outputs of an answer."""
        return dict(self.form.model_validate_json(answer.choices[0].message.content).model_dump())

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Ask once."""
        return self.read(self.client.chat.completions.create(model=self.model, messages=json_prompt(inputs)))

    async def acall(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Async version of ``call``."""
        if self.async_client is None:
            self.async_client = self.library.AsyncOpenAI(base_url=self.url, api_key=KEY, max_retries=0)
        return self.read(
            await self.async_client.chat.completions.create(model=self.model, messages=json_prompt(inputs))
        )


class PydanticAI(Side):
    """An agent of pydantic-ai whose output is asked for as JSON in the prompt."""

    format = JSON

    def __init__(self, url: str, model: str) -> None:
        super().__init__(url, model)
        library = import_module("pydantic_ai")
        provider = import_module("pydantic_ai.providers.openai").OpenAIProvider(base_url=url, api_key=KEY)
        self.agent = library.Agent(
            import_module("pydantic_ai.models.openai").OpenAIChatModel(model, provider=provider),
            output_type=library.PromptedOutput(triage_model()),
            system_prompt=INSTRUCTIONS,
        )

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Ask once."""
        return dict(self.agent.run_sync(json_prompt(inputs)[1]["content"]).output.model_dump())

    async def acall(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Async version of ``call``."""
        return dict((await self.agent.run(json_prompt(inputs)[1]["content"])).output.model_dump())


BAML_SOURCE = """
generator target {{
  output_type "python/pydantic"
  output_dir ".."
  version "{version}"
}}
client<llm> Server {{
  provider "openai-generic"
  options {{
    base_url "{url}"
    api_key "{key}"
    model "{model}"
  }}
}}
class Triage {{
  summary string @description("One sentence")
  affected string[] @description("Products that the ticket is about")
  urgency "low" | "normal" | "high" @description("How soon the team has to act")
  confidence float @description("From 0 to 1")
  refund bool @description("Whether the customer asks for money back")
}}
function Sort(ticket: string, products: string[], age: int) -> Triage {{
  client Server
  prompt #"
    {{{{ _.role("system") }}}} Sort a support ticket and say how sure you are.
    {{{{ ctx.output_format }}}}
    {{{{ _.role("user") }}}}
    ticket: {{{{ ticket }}}}
    products: {{{{ products }}}}
    age: {{{{ age }}}}
  "#
}}
"""


class Baml(Side):
    """The clients that BAML generates."""

    format = JSON

    def __init__(self, url: str, model: str) -> None:
        super().__init__(url, model)
        os.environ["BAML_LOG"] = "off"
        folder = Path(tempfile.mkdtemp(prefix="hokusai-wire-"))
        (folder / "baml_src").mkdir()
        source = BAML_SOURCE.format(version=version("baml-py"), url=url, key=KEY, model=model)
        (folder / "baml_src" / "main.baml").write_text(source, encoding="utf-8")
        command = Path(sys.executable).with_name("baml-cli")
        done = subprocess.run(  # a fixed command
            [command, "generate", "--from", folder / "baml_src"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        sys.path.insert(0, str(folder))
        self.sync: Any = import_module("baml_client.sync_client").b
        self.asynchronous: Any = None

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Ask once."""
        return dict(self.sync.Sort(**inputs).model_dump())

    async def acall(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Async version of ``call``."""
        if self.asynchronous is None:
            self.asynchronous = import_module("baml_client.async_client").b
        return dict((await self.asynchronous.Sort(**inputs)).model_dump())


SIDES: dict[str, tuple[type[Side], str]] = {
    "dspy.Predict": (Predict, "gpt-4o-mini"),
    "hokusai": (Hokusai, "gpt-4o-mini"),
    "hokusai-unknown-model": (Hokusai, "made-up-model"),
    "plugin": (Plugin, "gpt-4o-mini"),
    "openai": (OpenAISDK, "gpt-4o-mini"),
    "pydantic-ai": (PydanticAI, "gpt-4o-mini"),
    "baml": (Baml, "gpt-4o-mini"),
}


class Session:
    """Carries out commands for one side. Calls that are awaited share one event loop."""

    def __init__(self, side: Side) -> None:
        self.side, self.loop = side, asyncio.new_event_loop()

    def measure(self, mode: str, calls: int, in_flight: int) -> dict[str, float]:
        """Make calls and return what they cost."""
        rows = [dict(INPUTS) for _ in range(calls)]
        cpu, wall = time.process_time(), time.perf_counter()
        if mode == "async":
            good = self.loop.run_until_complete(self.side.amany(rows, in_flight))
        elif in_flight == 1:
            good = sum(right(self.side.call(row)) for row in rows)
        else:
            good = self.side.many(rows, in_flight)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if good != calls:
            raise RuntimeError(f"{calls - good} of {calls} answers are wrong")
        return {"cpu_us": cpu / calls * 1e6, "wall": wall, "per_second": calls / wall, "rss_mb": resident_mb()}

    def abandon(self, calls: int) -> dict[str, float]:
        """Begin awaited calls that the server never answers, and cancel them; return the seconds that this took."""
        silent = type(self.side)(self.side.url, "silent")

        async def one() -> None:
            task = asyncio.ensure_future(silent.acall(dict(INPUTS)))
            await asyncio.sleep(2)  # the first call imports modules
            task.cancel()
            await asyncio.wait([task])

        async def all_of_them() -> None:
            await asyncio.gather(*(one() for _ in range(calls)))

        started = time.perf_counter()
        self.loop.run_until_complete(all_of_them())
        return {"wall": time.perf_counter() - started}

    def fork(self, forks: int, calls: int) -> dict[str, int]:
        """Fork often, ask in parent and child at the same time, and count answers that belong to another request."""
        crossed = failed = 0
        self.tagged(0, 1)
        for number in range(forks):
            child = os.fork()
            if not child:
                os._exit(self.tagged(1_000_000 + 1_000 * number, calls))
            crossed += self.tagged(1_000 * number, calls)
            status = os.waitstatus_to_exitcode(self.wait(child))
            crossed += max(0, status)
            failed += status < 0
        return {"crossed": crossed, "failed": failed}

    def tagged(self, first: int, calls: int) -> int:
        """Ask with a tag each time, and return how many answers have another one."""
        wrong = 0
        for number in range(first, first + calls):
            answer = self.side.call({**INPUTS, "ticket": f"It broke again, tag-{number}."})
            wrong += answer["summary"] != f"tag-{number}"
        return wrong

    def wait(self, child: int) -> int:
        """Return the exit status of a child process, after killing one that hangs."""
        for _ in range(1_000):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status
            time.sleep(0.01)
        os.kill(child, 9)
        return os.waitpid(child, 0)[1]


def resident_mb() -> float:
    """Return the memory of this process, in MB."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Carry out the commands of standard input."""
    kind, model = SIDES[sys.argv[1]]
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not mix with the answers
    try:
        session = Session(kind(sys.argv[2], model))
    except ImportError as error:
        print(json.dumps({"missing": error.name or str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"ready": True}), file=answers, flush=True)
    commands: dict[str, Callable[..., Any]] = {
        "measure": session.measure,
        "abandon": session.abandon,
        "fork": session.fork,
    }
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = commands[command.pop("do")](**command)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    session.loop.run_until_complete(session.loop.shutdown_asyncgens())


if __name__ == "__main__":
    main()
