"""JobWorker: answers the tasks of a batch job where a backend has its workers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from attrs import define, evolve, field, frozen

from hokusai_core.base_signature import BaseSignature
from hokusai_core.batch_job import BatchJob, CallOffer, RowOutcome, RowTask
from hokusai_core.call_records import Admission, CallEstimate, CallRecord, Meter, OutputsWithExtras
from hokusai_core.errors import ConfigurationError, DeadlineExceeded, ExecutionError, OutputError
from hokusai_core.execution.call_plan import CallPlan
from hokusai_core.execution.model_policy import ModelPolicy
from hokusai_core.execution.services import make_services
from hokusai_core.runtime.drivers import outcome
from hokusai_core.settings import Settings, executor_options, variable_of
from hokusai_core.signatures.spec import SignatureSpec
from hokusai_core.signatures.strategy_choice import StrategyChoice

__all__ = ["JobWorker", "PreparedRequest"]

#: Asks whether a call may be made: takes the number of a task and the offer, returns what ``RowHost.admit`` does.
Ask = Callable[[int, CallOffer], Awaitable[int | None]]

#: Variables beside those of settings that would decide about models, and are not read on workers.
_NOT_READ: Final = ("HOKUSAI_LM", "HOKUSAI_CONFIG")


@frozen(eq=False)
class PreparedRequest:
    """A task as the one request of a language model that answers it.

    Args:
        client: the client of ``dspy.lm15`` for the provider, with the operations of its batch service.
        request: the ``dspy.lm15.Request``.
        offer: what is known of its cost.
    """

    client: Any
    request: Any
    offer: CallOffer


class JobWorker:
    """Answers the tasks of one batch job, from any number of coroutines of one event loop.

    It makes an executor's parts of the job: plugins, language models and signature. It has no cache, no trackers and no
    journal, because those stay where the batch began. It never tries again: that is decided there, too.

    Args:
        job: the job.

    Raises:
        ConfigurationError: the job cannot be run here: another signature comes of it, or a plugin is missing or of
            another version.
    """

    def __init__(self, job: BatchJob) -> None:
        self.job = job
        spec = SignatureSpec.from_dict(job.signature)
        if spec.fingerprint != job.fingerprint:
            raise ConfigurationError(
                f"{job.name}: this worker makes another signature of the job (fingerprint {spec.fingerprint[:12]}, and "
                f"{job.fingerprint[:12]} is wanted); install the same version of hokusai-core on all machines"
            )
        _check_versions(job.plugins)
        self._spec, self._class = spec, BaseSignature.from_spec(spec)
        self._services = make_services(_settings(job), optional=frozenset())
        self._strategy = StrategyChoice.of(job.strategy)
        self._lm = _policy(job.lm)
        self._prices = self._services.settings.value("prices")

    async def run(self, task: RowTask, ask: Ask | None = None) -> RowOutcome:
        """Make the attempt that a task stands for, and return its outcome. It raises nothing but ``CancelledError``.

        Args:
            task: the task.
            ask: is asked before every call of a language model; needed where ``job.metered``.
        """
        meter, guard = Meter(self.job.keep_exchanges), None
        model = ""
        try:
            if ask is not None:
                guard = _AskingGuard(task.number, ask, asyncio.get_running_loop())
            elif self.job.metered:
                raise ConfigurationError("the job is metered: give JobWorker.run what asks before each call (ask=...)")
            plan = self._plan(task.model)
            model = plan.model_name
            outputs = await self._attempt(task, plan, meter, guard)
            extras = outputs.extras if isinstance(outputs, OutputsWithExtras) else {}
            found = RowOutcome(
                number=task.number, status="answered", outputs=self._encoded(task, outputs), extras=extras, model=model
            )
        except Exception as error:
            found = evolve(RowOutcome.failed(task.number, error), model=model)
        return _with_calls(found, meter, guard)

    def check_one_request(self) -> None:
        """Return if one request answers a row.

        Raises:
            PromptError: the signature takes several requests, or its adapter decides by itself what it sends.
            HokusaiError: the language model cannot be had.
        """
        self._plan(0).calls.check_one_request()

    def prepare(self, task: RowTask) -> PreparedRequest:
        """Return the one request that answers a task; nothing is called.

        Raises:
            PromptError: the signature is not answered by one request.
            ConfigurationError: the provider of the model is not reached by a client of ``dspy.lm15``.
            HokusaiError: the language model cannot be had.
        """
        plan = self._plan(task.model)
        inputs = self._bound(task)
        client, request, estimate = plan.calls.batch_request(inputs, plan.parameters, self._prices)
        return PreparedRequest(client, request, CallOffer.of(estimate))

    def read(
        self, task: RowTask, response: Any, *, price: float = 1.0, latency: float = 0.0, admission: int | None = None
    ) -> RowOutcome:
        """Return the outcome of a task whose request was answered; nothing is called.

        Args:
            task: the task.
            response: the ``dspy.lm15.Response``.
            price: part of the usual price that the answer costs.
            latency: seconds that it took.
            admission: what ``RowHost.admit`` returned for the call.
        """
        plan, meter = self._plan(task.model), Meter(self.job.keep_exchanges)
        try:
            outputs = plan.calls.read_metered(response, self._bound(task), meter, self._prices)
            found = RowOutcome(
                number=task.number,
                status="answered",
                outputs=self._encoded(task, outputs),
                model=plan.model_name,
            )
        except Exception as error:
            found = evolve(RowOutcome.failed(task.number, error), model=plan.model_name)
        calls = tuple(
            evolve(call, cost=None if call.cost is None else call.cost * price, latency=latency, error=None)
            for call in meter.calls
        )
        return evolve(found, calls=calls, admissions=() if admission is None else (admission,) * len(calls))

    def close(self) -> None:
        """Close the language models and plugins; calling it twice is harmless."""
        self._services.close()

    # -- parts ------------------------------------------------------------------------------------------------

    def _plan(self, number: int) -> CallPlan:
        services = self._services
        chosen = services.models.choose(self._lm)
        if isinstance(chosen, ModelPolicy):
            chosen = chosen.models[number]
        return services.plans.plan(self._class, chosen, self._strategy, self.job.parameters)

    def _bound(self, task: RowTask) -> dict[str, Any]:
        return self._spec.binder.bind(task.inputs, self._services.media)

    async def _attempt(self, task: RowTask, plan: CallPlan, meter: Meter, guard: _AskingGuard | None) -> dict[str, Any]:
        call = plan.calls.prepare(
            self._bound(task),
            recorder=meter,
            gate=guard,
            prices=self._prices,
            config=plan.parameters,
            deadline=None if task.timeout is None else time.monotonic() + task.timeout,
            attempt=task.attempt,
        )
        scope = asyncio.timeout(task.timeout)
        try:
            async with scope:
                outputs: dict[str, Any]
                if call.asynchronous:
                    outputs = await call.arun()
                else:
                    outputs = await outcome(self._services.threads.submit(call.run))
                return outputs
        except TimeoutError:
            if not scope.expired():
                raise
        raise DeadlineExceeded(f"{self.job.name} took longer than the time that was left of its timeout")

    def _encoded(self, task: RowTask, outputs: Mapping[str, Any]) -> bytes:
        settled, problems = self._spec.codec.settle(self._bound(task), outputs)
        if problems:
            raise OutputError(f"the answer does not fit {self.job.name}: " + "; ".join(map(str, problems)))
        try:
            return bytes(self._spec.codec.encode(settled))
        except (TypeError, ValueError) as error:
            raise OutputError(f"outputs of {self.job.name} have no JSON form ({error})") from None


def _check_versions(wanted: Mapping[str, str]) -> None:
    """Raise ``ConfigurationError`` if what takes part in answers is missing here, or of another version."""
    wrong = []
    for distribution, wanted_version in wanted.items():
        try:
            found = version(distribution)
        except PackageNotFoundError:
            found = "missing"
        if found != wanted_version:
            wrong.append(f"{distribution} {wanted_version} is wanted, and {found} is installed")
    if wrong:
        raise ConfigurationError(f"this worker would not answer as the batch asks: {'; '.join(wrong)}")


def _settings(job: BatchJob) -> Settings:
    """Return the settings of a worker: those of the job, and none of its machine's own."""
    own = {*_NOT_READ, *map(variable_of, executor_options())}
    environ = {name: value for name, value in os.environ.items() if name not in own}
    given: dict[str, Any] = dict(job.settings)
    return Settings.from_environment(
        environ, **given, models={name: _policy(table) for name, table in job.models.items()}, cache_enabled=False,
        trackers=(), promotions=False,
    )  # fmt: skip


def _policy(lm: Any) -> Any:
    """Return the policy that stands in a job as data; anything else as it is."""
    if not isinstance(lm, Mapping) or not isinstance(lm.get("models"), (list, tuple)):
        return lm
    if not all(isinstance(one, Mapping) for one in lm["models"]):
        return lm  # a table of the setting models, which names its models
    models = [{name: value for name, value in one.items() if value is not None} for one in lm["models"]]
    return ModelPolicy(models, move_on=lm["move_on"], failures=lm["failures"], reset_after=lm["reset_after"])


@define(eq=False)
class _AskedAdmission:
    """What was set aside for a call where the batch began.

    Args:
        number: its number there.
        cost: picodollars.
    """

    number: int
    cost: int
    call: CallRecord | None = None
    refunded: bool = False

    def settle(self, call: CallRecord) -> None:
        """Note the call that it was for."""
        self.call = call

    def refund(self) -> None:
        """Note that no call was made."""
        self.refunded = True


@define(eq=False)
class _AskingGuard:
    """Asks, before each call of a task, where the batch began."""

    number: int
    ask: Ask
    loop: asyncio.AbstractEventLoop
    admitted: list[_AskedAdmission] = field(factory=list)

    async def abefore(self, estimate: CallEstimate) -> Admission:
        """Return once the call may be made."""
        offer = CallOffer.of(estimate)
        number = await self.ask(self.number, offer)
        if number is None:
            raise ExecutionError("the call was not admitted where the batch began")
        admission = _AskedAdmission(number, offer.bound.amount or 0)
        self.admitted.append(admission)
        return admission

    def before(self, estimate: CallEstimate) -> Admission:
        """Blocking version of ``abefore``, for calls on threads."""
        return asyncio.run_coroutine_threadsafe(self.abefore(estimate), self.loop).result()

    def reserve(self, estimate: CallEstimate) -> Admission:
        """Do the same as ``before``."""
        return self.before(estimate)

    def charge(self, call: CallRecord) -> None:
        """Do nothing: the call is in the outcome, and is charged where the batch began."""


def _with_calls(found: RowOutcome, meter: Meter, guard: _AskingGuard | None) -> RowOutcome:
    """Return an outcome with the calls that were made, and what was set aside for each."""
    admitted = [] if guard is None else guard.admitted
    numbers = {id(one.call): one.number for one in admitted if one.call is not None}
    return evolve(
        found,
        calls=tuple(evolve(call, error=None) for call in meter.calls),
        admissions=tuple(numbers.get(id(call)) for call in meter.calls) if admitted else (),
        refunds=tuple(one.number for one in admitted if one.refunded and one.call is None),
    )
