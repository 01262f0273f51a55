"""ServeLimits: the bounds of a server."""

from __future__ import annotations

from attrs import fields, frozen

from hokusai_core.errors import ConfigurationError

__all__ = ["ServeLimits"]


@frozen(kw_only=True)
class ServeLimits:
    """The bounds of a server. A request that passes one is refused before a language model is called.

    Args:
        body_bytes: bytes of a request body.
        rows: rows of a batch.
        concurrency: executions that run at once; more are refused with 429.
        prompt_tokens: tokens of a prompt, as estimated before the call; None for no bound.
        timeout: seconds of an execution; the default of requests, and the most that they may ask for.
        batches: batches that wait or run.
        running_batches: batches that run at once.
        keep_batches: seconds for which the results of a batch are kept.
        body_seconds: seconds in which a body has to arrive, and in which a client has to take each piece of an answer.
        header_seconds: seconds in which the headers of a request have to arrive.
        drain_seconds: seconds for which a server waits for its requests at the end.

    Raises:
        ConfigurationError: a bound is not above zero.
    """

    body_bytes: int = 32 * 2**20
    rows: int = 10_000
    concurrency: int = 1_000
    prompt_tokens: int | None = 100_000
    timeout: float = 120.0
    batches: int = 100
    running_batches: int = 2
    keep_batches: float = 7 * 86_400.0
    body_seconds: float = 30.0
    header_seconds: float = 10.0
    drain_seconds: float = 30.0

    def __attrs_post_init__(self) -> None:
        for item in fields(ServeLimits):
            value = getattr(self, item.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and value > 0) and not (value is None and item.name == "prompt_tokens"):
                raise ConfigurationError(f"ServeLimits({item.name}={value!r}): expected a number above zero")
