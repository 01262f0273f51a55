"""Turns one request into one valid answer: plain text, a label, or JSON, each with its own sampling and checks."""

from __future__ import annotations

from attrs import evolve
from dspy.lm15 import Request

from hokusai_local.context_fit import fit, refuse_hopeless
from hokusai_local.grammar import choice_grammar
from hokusai_local.inference_sequence import Messages, TooLong
from hokusai_local.interruption import Interruption
from hokusai_local.json_generation import write_json
from hokusai_local.label_scoring import MOST_OPTIONS, LabelScorer, NotScorable
from hokusai_local.multi_output import write_outputs
from hokusai_local.options import EngineOptions
from hokusai_local.output_request import read_output_request
from hokusai_local.request_context import Draft, GeneratedAnswer, NoValidAnswer, RequestContext
from hokusai_local.server import LlamaServer
from hokusai_local.text_generation import write_text

__all__ = ["AnswerGenerator", "GeneratedAnswer", "NoValidAnswer"]

_DEFAULT_MAX_TOKENS = 256


class AnswerGenerator:
    """Answers one request.

    Args:
        server: the loaded model.
        options: how to treat prompts that are too long, and labels.
        interruption: when to stop.
        seed: a number that differs from call to call; enters only above temperature 0, and only without a seed of
            the request's own.
        draft: takes a text while it is written, None where that is not wanted.
    """

    def __init__(
        self,
        server: LlamaServer,
        options: EngineOptions,
        interruption: Interruption,
        *,
        seed: int,
        draft: Draft | None = None,
    ) -> None:
        self._server = server
        self._options = options
        self._interruption = interruption
        self._fresh_seed = seed
        self._draft = draft

    def answer(self, messages: list[dict[str, str]], request: Request) -> GeneratedAnswer:
        """Return the answer to ``messages`` that ``request`` wants.

        Raises:
            TooLong: where the prompt does not fit, and was not to be truncated or could not be.
            Interrupted: where the caller does not wait any longer.
            NoValidAnswer: where no attempt gave a valid answer.
            ServerProblem: where llama.cpp refused the request.
        """
        wanted = read_output_request(request)
        budget = min(request.config.max_tokens or _DEFAULT_MAX_TOKENS, self._options.context // 2)
        # A generous max_tokens does not claim half the context for itself: an answer may end at the context's end.
        reserved = min(budget * (2 if wanted.in_turns else 1), self._options.context // 4)
        room = self._options.context - reserved - 64
        context = RequestContext(
            self._server, self._interruption, request, wanted, budget, room, self._fresh_seed, draft=self._draft
        )
        try:
            refuse_hopeless(messages, self._options.context, room)
            return self._run(messages, context)
        except TooLong as error:
            if self._options.overflow != "truncate":
                raise
            too_long = error
        fitted, notes = fit(messages, too_long, lambda shorter: self._count(shorter, room))
        return evolve(self._run(fitted, context), adaptations=notes)

    def _run(self, messages: Messages, context: RequestContext) -> GeneratedAnswer:
        if context.wanted.kind == "choice":
            return self._choose(messages, context)
        if context.wanted.kind == "text":
            return write_text(context, messages)
        if context.wanted.in_turns:
            return write_outputs(context, messages, self._options.context)
        return write_json(context, messages, self._options.context)

    def _count(self, messages: Messages, room: int) -> int:
        """Return how many tokens a prompt has where it does not fit, else ``room``."""
        refuse_hopeless(messages, self._options.context, room)
        with self._server.slot(self._interruption) as slot:
            slot.prefix = ""
            try:
                slot.generate({"messages": list(messages), "max_tokens": 1}, self._interruption, room=0)
            except TooLong as error:
                return error.asked
        return room

    def _choose(self, messages: Messages, context: RequestContext) -> GeneratedAnswer:
        if len(context.wanted.options) <= MOST_OPTIONS:
            try:
                return self._choose_by_probability(messages, context)
            except NotScorable:
                pass  # The grammar can write what cannot be scored.
        return self._choose_by_grammar(messages, context)

    def _choose_by_probability(self, messages: Messages, context: RequestContext) -> GeneratedAnswer:
        options = context.wanted.options
        sampling = context.sampling()
        baselines = [[*messages[:-1], {"role": "user", "content": text}] for text in context.wanted.baselines]
        choice = LabelScorer(self._server, self._interruption, context.room).choose(
            messages,
            options,
            baselines=baselines if self._options.calibrate else (),
            temperature=sampling["temperature"],
            seed=sampling["seed"],
        )
        shares = {label: round(share, 4) for label, share in zip(options, choice.shares, strict=True)}
        return GeneratedAnswer(
            choice.label, True, choice.prompt_tokens, 0, choice.output_tokens, details={"label_shares": shares}
        )

    def _choose_by_grammar(self, messages: Messages, context: RequestContext) -> GeneratedAnswer:
        options = context.wanted.options
        body = context.sampling() | {"max_tokens": 128, "grammar": choice_grammar(options)}
        generation = context.generate(messages, body)
        if generation.text not in options:
            raise NoValidAnswer(f"{generation.text[:40]!r} is none of the options")
        return GeneratedAnswer.of(generation, generation.text, generation.output_tokens, 1)
