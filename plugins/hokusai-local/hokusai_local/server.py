"""The native model: a llama.cpp server inside this process, called directly."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from hokusai_local.inference_sequence import InferenceSequence, ServerProblem
from hokusai_local.interruption import Interruption
from hokusai_local.native_server_guard import Interrupted, NativeServerGuard
from hokusai_local.options import EngineOptions, usable_cores

__all__ = ["LlamaServer", "ServerSettings", "is_small"]

# Tokens of a prompt that are computed between two looks at the deadline: under a second on two slow cores.
_BATCH = 256
_SMALL_MODEL_BYTES = 512 << 20
_TURN_ENDS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<eos>",
    "</s>",
)


@frozen
class ServerSettings:
    """What makes two loaded models different; equal settings share one loaded model.

    Args:
        path: the GGUF file.
        context: tokens per slot.
        slots: prompts that are worked on at once.
        prompt_threads: threads that read prompts.
        answer_threads: threads that write answers.
        small: whether the model is about as small as the shipped one, and needs to be led by the hand.
    """

    path: Path
    context: int
    slots: int
    prompt_threads: int
    answer_threads: int
    small: bool

    @classmethod
    def of(cls, path: Path, options: EngineOptions) -> ServerSettings:
        """Return the settings under which ``options`` load the file at ``path``."""
        threads = options.threads or usable_cores()
        small = is_small(path)
        answering = options.answer_threads or (1 if small else threads)
        return cls(path, options.context, options.parallel, threads, answering, small)


def is_small(path: Path) -> bool:
    """Return whether a model is about as small as the shipped one."""
    return path.stat().st_size < _SMALL_MODEL_BYTES


class LlamaServer:
    """A loaded model.

    Args:
        settings: what to load and how.

    Raises:
        ImportError: where xllamacpp is not installed.
        RuntimeError: where llama.cpp cannot load the file.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._key = secrets.token_hex(16)
        native = _load(settings, self._key)
        #: Where the port listens that llama.cpp opens whether one wants it or not.
        self.address = str(native.listening_address)
        self.gate = NativeServerGuard(native)
        self._slots = [InferenceSequence(self.gate, number) for number in range(settings.slots)]
        self._free = threading.Semaphore(settings.slots)
        self._lock = threading.Lock()
        self._ends: tuple[int, ...] | None = None
        self._tokens: dict[str, tuple[int, ...]] = {}
        #: Scores of content-free prompts by their digest; see ``hokusai_local.label_scoring``.
        self.baselines: dict[str, tuple[float, ...]] = {}

    @contextmanager
    def slot(self, interruption: Interruption, prefix: str = "") -> Iterator[InferenceSequence]:
        """Give exclusive use of a slot, of one that holds ``prefix`` where there is one.

        Raises:
            Interrupted: where it was in vain to wait longer.
        """
        if not interruption.acquire(self._free):
            raise Interrupted(f"{interruption.reason} while other calls were using the model")
        with self._lock:
            slot = next((slot for slot in self._slots if slot.prefix == prefix), self._slots[0])
            self._slots.remove(slot)
        try:
            yield slot
        finally:
            with self._lock:
                self._slots.append(slot)
            self._free.release()

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a short text, such as a label."""
        known = self._tokens.get(text)
        if known is None:
            if len(self._tokens) >= 4096:
                self._tokens.clear()
            known = self._tokens[text] = tuple(self._post("/tokenize", {"content": text})["tokens"])
        return known

    def count_tokens(self, messages: Sequence[Mapping[str, str]]) -> int:
        """Return how many tokens a conversation has once it is written in the model's own chat format."""
        prompt = self._post("/apply-template", {"messages": list(messages)})["prompt"]
        return len(self._post("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"])

    def turn_ends(self) -> tuple[int, ...]:
        """Return the tokens with which this model may end its turn, by the names that chat models give them."""
        if self._ends is None:
            found = (self.tokenize(name) for name in _TURN_ENDS)
            self._ends = tuple(tokens[0] for tokens in found if len(tokens) == 1)
        return self._ends

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        # Tokenizing is the one thing that has no direct call; the server's own port on the loopback interface has it.
        address = urlsplit(self.address)
        connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=30)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            payload = json.loads(response.read())
        except OSError as error:
            if self.gate.reason:
                raise Interrupted(self.gate.reason) from error
            raise ServerProblem(f"the model's own port did not answer: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise ServerProblem(f"{path} answered {response.status}")
        return dict(payload)


def _load(settings: ServerSettings, key: str) -> Any:
    xllamacpp = _import_xllamacpp()
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    params.n_parallel = settings.slots
    params.n_ctx = settings.context * settings.slots
    params.n_batch = params.n_ubatch = _BATCH
    params.cpuparams.n_threads = settings.answer_threads
    params.cpuparams_batch.n_threads = settings.prompt_threads
    # Prompts kept in main memory (8 GiB by default) would be brought back depending on what was asked before.
    params.cache_ram_mib = 0
    # Nothing of llama.cpp's log.
    params.verbosity = -1
    # The server listens on a random port of the loopback interface and this cannot be switched off. It answers
    # only those who know this random key.
    params.api_keys = [key]
    server = xllamacpp.Server(params)
    # A server that is destroyed before its loop has begun to run waits for ever. An answer says that it runs.
    server.handle_completions({"prompt": "a", "n_predict": 1, "cache_prompt": False})
    return server


def _import_xllamacpp() -> Any:
    # OpenMP reads its settings when it is loaded. Its default, to spin for long while waiting, brings the model to a
    # crawl as soon as another process wants the same cores; the value only matters to this library, so it is removed
    # afterwards.
    name = "GOMP_SPINCOUNT"
    if name in os.environ or "OMP_WAIT_POLICY" in os.environ:
        import xllamacpp

        return xllamacpp
    os.environ[name] = "1000"
    try:
        import xllamacpp
    finally:
        os.environ.pop(name, None)
    return xllamacpp
