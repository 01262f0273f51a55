"""One call of the native model: exclusive use of a sequence, and a reader of the output."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from hokusai_local.interruption import Interruption
from hokusai_local.native_server_guard import Interrupted, NativeServerGuard

__all__ = ["Generation", "InferenceSequence", "Interrupted", "Messages", "ServerProblem", "TooLong", "prefix_of"]

# Keeping the beginning of a prompt costs about 50 ms per call; reading as much as this costs ten times that.
_PREFIX_CHARACTERS = 800

# Chunks of an answer between two looks at it as a whole.
_LOOK_EVERY = 16

Messages = Sequence[Mapping[str, str]]


class ServerProblem(Exception):
    """llama.cpp answered with an error."""


class TooLong(Exception):
    """The prompt does not fit.

    Args:
        asked: tokens of the prompt.
        room: tokens that it may have.
        estimated: whether ``asked`` was guessed from the number of characters.
    """

    def __init__(self, asked: int, room: int, *, estimated: bool = False) -> None:
        super().__init__(f"{asked} tokens do not fit into {room}")
        self.asked = asked
        self.room = room
        self.estimated = estimated


@define
class Generation:
    """One answer as it comes out of the model.

    Args:
        text: what was written.
        complete: whether it ended by itself rather than at the token limit.
        prompt_tokens: tokens of the prompt.
        reused_tokens: how many of them did not have to be computed again.
        output_tokens: tokens that were written.
        logprobs: natural logarithm of the probability of each token, before sampling and grammar; empty unless asked.
    """

    text: str = ""
    complete: bool = True
    prompt_tokens: int = 0
    reused_tokens: int = 0
    output_tokens: int = 0
    logprobs: list[float] = field(factory=list)


class InferenceSequence:
    """Exclusive use of one of the server's sequences, for one caller at a time.

    Args:
        gate: the way to the native server.
        number: of the sequence.
    """

    def __init__(self, gate: NativeServerGuard, number: int) -> None:
        self._gate = gate
        self._number = number
        #: Digest of the beginning of prompts that the slot holds; see ``begin``.
        self.prefix = ""

    def begin(self, messages: Messages, interruption: Interruption, *, prefix: str, room: int | None = None) -> bool:
        """Bring the slot into a state that depends on nothing but ``messages``, and say whether it may be built on.

        What is computed in one go and what in two differs in the last bits, and near ties then fall differently. So
        llama.cpp's own prompt cache, which goes on from as much as happens to be there, makes answers depend on
        earlier calls. Here the messages before the last one are computed apart and kept, if they are long enough to
        pay (demos are); everything behind them is computed anew each time.

        Args:
            messages: the prompt of the call that follows.
            interruption: as for ``generate``.
            prefix: digest of what may be kept, from ``prefix_of``; empty for nothing.
            room: as for ``generate``.

        Returns:
            Value of ``cache_prompt`` for the call that follows.
        """
        held, self.prefix = self.prefix, ""
        if not prefix:
            return False
        # A last message that begins with another letter than the real one parts ways with it at its first token.
        marker = "%" if messages[-1]["content"].startswith("#") else "#"
        body = {
            "messages": [*messages[:-1], {"role": "user", "content": marker}],
            "max_tokens": 1,
            "temperature": 0.0,
            "cache_prompt": held == prefix,
        }
        self.generate(body, interruption, room=room)
        self.prefix = prefix
        return True

    def generate(
        self,
        body: Mapping[str, Any],
        interruption: Interruption,
        *,
        room: int | None = None,
        enough: Callable[[str], bool] | None = None,
        written: Callable[[str], None] | None = None,
    ) -> Generation:
        """Run one chat completion.

        Args:
            body: the request as llama.cpp's chat endpoint takes it.
            interruption: looked at after each token and each batch of the prompt.
            room: tokens that the prompt may have; more end the call before anything is computed.
            enough: asked now and then with the text so far; True ends the answer there, as incomplete.
            written: takes each piece of the text, on a thread of llama.cpp.

        Raises:
            TooLong: where the prompt has more tokens than ``room`` or than the context.
            Interrupted: where ``interruption`` said so.
            ServerProblem: where llama.cpp refused the request.
        """
        reader = _StreamReader(interruption, room, self._gate, enough, written)
        request = {**body, "stream": True, "return_progress": True, "id_slot": self._number}
        # llama.cpp counts the tokens at the end of an answer; one that is stopped here has no such end.
        request["timings_per_token"] = enough is not None
        if threading.current_thread() is threading.main_thread():
            self._call_beside(request, reader)
        else:
            self._call(request, reader)
        return reader.result()

    def _call(self, request: Mapping[str, Any], reader: _StreamReader) -> None:
        try:
            self._gate.chat(request, reader)
        except Interrupted as error:
            reader.stop(error)
        except (RuntimeError, TypeError, ValueError) as error:
            reader.stop(ServerProblem(str(error)))

    def _call_beside(self, request: Mapping[str, Any], reader: _StreamReader) -> None:
        # Python delivers Ctrl-C to the main thread only, and only while it runs Python code. There it would arrive
        # inside the callback, where llama.cpp swallows it; so the main thread waits instead.
        worker = threading.Thread(target=self._call, args=(request, reader), name="hokusai-local-call", daemon=True)
        worker.start()
        try:
            worker.join()
        except BaseException as interrupt:
            reader.stop(interrupt)
            worker.join()
            raise


def prefix_of(messages: Messages, characters: int = _PREFIX_CHARACTERS) -> str:
    """Return a digest of the messages before the last one, or nothing where they are too short to be worth keeping.

    Args:
        messages: the prompt.
        characters: from how many characters on they are worth it.
    """
    if sum(len(message["content"]) for message in messages[:-1]) < characters:
        return ""
    return hashlib.sha256(json.dumps(list(map(dict, messages[:-1]))).encode()).hexdigest()


class _StreamReader:
    """Collects the chunks of one streamed answer; returning True asks llama.cpp to stop."""

    def __init__(
        self,
        interruption: Interruption,
        room: int | None,
        gate: NativeServerGuard,
        enough: Callable[[str], bool] | None,
        written: Callable[[str], None] | None,
    ) -> None:
        self._interruption = interruption
        self._room = room
        self._gate = gate
        self._enough = enough
        self._written = written
        self._generation = Generation()
        self._texts: list[str] = []
        self._stopped = False
        self._failure: BaseException | None = None

    def __call__(self, chunk: dict[str, Any]) -> bool:
        # llama.cpp swallows errors of a callback: keep this one and raise it in the thread that waits for the result.
        try:
            self._read(chunk)
            reason = self._interruption.reason or self._gate.reason
            if reason:
                raise Interrupted(reason)
            if self._enough is not None and not self._stopped and len(self._texts) % _LOOK_EVERY == 0:
                self._stopped = self._enough("".join(self._texts))
        except BaseException as failure:  # such as that of a stream which is not read any more
            self.stop(failure)
        return self._stopped or self._failure is not None

    def stop(self, failure: BaseException) -> None:
        """End the answer at the next chunk, and have ``result`` raise ``failure``."""
        self._failure = self._failure or failure

    def _read(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            raise self._problem(chunk["error"])
        generation = self._generation
        progress = chunk.get("prompt_progress")
        if progress:
            generation.prompt_tokens = progress["total"]
            generation.reused_tokens = progress["cache"]
            if self._room is not None and progress["total"] > self._room:
                raise TooLong(progress["total"], self._room)
        for choice in chunk.get("choices", ()):
            piece = choice["delta"].get("content") or ""
            self._texts.append(piece)
            if piece and self._written is not None:
                self._written(piece)
            for token in (choice.get("logprobs") or {}).get("content") or ():
                generation.logprobs.append(token["logprob"])
            if choice.get("finish_reason"):
                generation.complete = choice["finish_reason"] != "length"
        if "timings" in chunk:
            generation.output_tokens = chunk["timings"]["predicted_n"]

    def result(self) -> Generation:
        """Return the collected output, or raise the error of the call."""
        if self._failure is not None:
            raise self._failure
        generation = self._generation
        generation.text = "".join(self._texts)
        generation.complete = generation.complete and not self._stopped
        return generation

    def _problem(self, error: Mapping[str, Any]) -> Exception:
        if error.get("type") == "exceed_context_size_error":
            return TooLong(error["n_prompt_tokens"], self._room or error["n_ctx"])
        return ServerProblem(str(error.get("message", error)))
