"""Makes the job of a batch for a backend, and refuses by name what cannot be written as data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

import orjson

from hokusai_core.batch_job import BatchJob
from hokusai_core.errors import ConfigurationError, HokusaiError
from hokusai_core.execution.model_policy import ModelPolicy, PolicyModel
from hokusai_core.json_encoding import jsonable
from hokusai_core.settings import ExecutionMode
from hokusai_core.signatures.spec import SignatureSpec

if TYPE_CHECKING:
    from hokusai_core.execution.call_plan import CallPlan
    from hokusai_core.execution.services import ExecutorServices
    from hokusai_core.execution.state import Options

__all__ = ["make_job"]

#: Settings that decide about answers and costs, and are plain data.
_SETTINGS: Final = ("media_bytes", "media_urls", "plugins", "disable_plugins", "strict_plugins")
#: Hooks that decide about answers, so that their plugin must be where the answer is made.
_DECIDING: Final = ("transform_outputs", "check_execution")


def make_job(
    services: ExecutorServices, plan: CallPlan, lm: Any, options: Options, *, backend: str, job_id: str
) -> BatchJob:
    """Return a batch as data.

    Args:
        services: parts of the executor.
        plan: the plan of the rows.
        lm: language model of the batch, in place of the executor's.
        options: options of the batch.
        backend: name of the backend, for messages.
        job_id: id of the batch.

    Raises:
        ConfigurationError: something cannot be written as data; names all of it.
    """
    maker = _Maker(services, plan, options)
    maker.check_parts()
    signature, model = maker.signature(), maker.language_model(lm)
    parameters = maker.plain("parameters", options.parameters)
    settings = {name: services.settings.value(name) for name in _SETTINGS}
    settings |= {
        "adapter": maker.adapter(),
        "parameters": maker.plain("parameters", services.settings.value("parameters")),
        "prices": None if services.settings.value("prices") is None else services.settings.value("prices").to_dict(),
    }
    strategy = maker.strategy()
    if maker.problems:
        raise ConfigurationError(
            f"backend {backend}: this batch cannot run elsewhere, because not all of it is data:"
            + "".join(f"\n  {problem}" for problem in maker.problems)
            + "\nNothing was run. Mend it, or run the batch with backend='local'"
        )
    limits = services.settings.value("requests_per_minute"), services.settings.value("tokens_per_minute")
    budget = None if options.budget is None else options.budget.left()
    seconds = None if budget is None else budget["seconds"]
    mode = services.state.mode
    return BatchJob(
        job_id=job_id,
        name=plan.name,
        signature=signature,
        fingerprint=plan.spec.fingerprint,
        lm=model,
        models=maker.tables,
        strategy=strategy,
        parameters=parameters,
        settings=settings,
        timeout=options.timeout,
        deadline=None if seconds is None else time.time() + seconds,
        budget=budget,
        metered=budget is not None or any(limits),
        keep_exchanges=mode is ExecutionMode.DEVELOPMENT or services.observers.wants_exchanges,
        plugins=dict(maker.distributions(model)),
    )


class _Maker:
    """Collects the parts of a job, and what is wrong with them."""

    def __init__(self, services: ExecutorServices, plan: CallPlan, options: Options) -> None:
        self._services, self._plan, self._options = services, plan, options
        self.problems: list[str] = []
        self.tables: dict[str, Any] = {}

    def check_parts(self) -> None:
        """Look at what the executor has beside settings."""
        services, plan = self._services, self._plan
        if plan.registered.program is not None:
            kind = type(plan.registered.program).__name__
            self.problems.append(
                f"{plan.name} is run by the DSPy program {kind}, an object of this process; give a signature, with a "
                "strategy of a plugin where one call is not enough"
            )
        if services.cassette is not None:
            self.problems.append("cassette: calls of workers are not recorded in it; leave it out")
        for found in _deciding_extras(services, strategy=plan.strategy is not None):
            self.problems.append(
                f"{found} of a plugin that was given in process: it exists in this process only; make an installed "
                "plugin of it, which workers have too"
            )

    def signature(self) -> Mapping[str, Any]:
        """Return the signature as data, after a look whether it is the same when it is made again."""
        spec = self._plan.spec
        try:
            data = spec.to_dict()
            again = SignatureSpec.from_dict(orjson.loads(orjson.dumps(data)))
        except (HokusaiError, TypeError, ValueError) as error:
            if self._plan.registered.program is None:
                self.problems.append(f"signature {self._plan.name}: {error}")
            return {}
        if again.fingerprint != spec.fingerprint:
            self.problems.append(
                f"signature {self._plan.name}: it is another one when it is made again from data; use plain types"
            )
        return data

    def language_model(self, lm: Any) -> Any:
        """Return the model or policy as data."""
        asked = self._services.models.asked(lm)
        where = "lm" if lm is not None else f"lm ({self._services.models.source()})"
        return self._model(where, asked)

    def _model(self, where: str, asked: Any) -> Any:
        if asked is None or isinstance(asked, str):
            if type(asked) is str:
                self._table(where, asked)
            return None if asked is None else str(asked)
        if isinstance(asked, ModelPolicy):
            return {
                "models": [
                    self._policy_model(f"{where}, model {place}", one) for place, one in enumerate(asked.models)
                ],
                "move_on": [kind.__name__ for kind in asked.move_on],
                "failures": asked.failures,
                "reset_after": asked.reset_after,
            }
        self.problems.append(
            f"{where}={type(asked).__name__}: an object stays in this process, with its connections and keys; give "
            "its name, such as lm='openai/gpt-5-mini', or a table of the setting models"
        )
        return None

    def _policy_model(self, where: str, model: PolicyModel) -> Any:
        return {
            "lm": self._model(where, model.lm),
            "parameters": self.plain(f"{where}: parameters", model.parameters),
            "timeout": model.timeout,
        }

    def _table(self, where: str, name: str) -> None:
        """Take the table that a name stands for, and those that it names."""
        tables = self._services.settings.value("models")
        if name not in tables or name in self.tables:
            return
        table = tables[name]
        if isinstance(table, (str, ModelPolicy)):
            self.tables[name] = self._model(f"models.{name}", table)
        elif isinstance(table, Mapping):
            self.tables[name] = self.plain(f"models.{name}", table)
            for part in table.get("models") or ():
                if type(part) is str:
                    self._table(where, part)
        else:
            self.problems.append(
                f"models.{name}: {type(table).__name__} is an object, which stays in this process; give a table with "
                "'model' and its settings"
            )

    def adapter(self) -> Any:
        """Return the name of the format of prompts."""
        from hokusai_core import dspy_bridge  # imports DSPy, which the plan has done

        given, model = self._services.settings.value("adapter"), self._plan.model
        told = f"adapter={type(given).__name__}"
        if given is None and (model is None or model.adapter is None):  # that of a model is made with the model
            given = dspy_bridge.host_adapter()
            told = f"adapter of the host ({type(given).__name__})"
        if given is None or isinstance(given, str):
            return given
        self.problems.append(f"{told}: an object; give Executor(adapter=...) 'chat', 'json' or 'xml'")
        return None

    def strategy(self) -> Mapping[str, Any] | None:
        """Return the strategy that the batch asks for."""
        choice = self._options.strategy
        if choice is None:
            return None
        for option, value in choice.options.items():
            self.plain(f"strategy {choice.name}: option {option}", value)
        return {"name": choice.name, **choice.options} if choice.name else dict(choice.options)

    def plain(self, where: str, value: Any) -> Any:
        """Return a value as JSON-able data."""
        try:
            return jsonable(dict(value) if isinstance(value, Mapping) else value)
        except (TypeError, ValueError):
            self.problems.append(f"{where}: {_called(value)} is not data; offer it as a component of a plugin")
            return None

    def distributions(self, model: Any) -> Iterator[tuple[str, str]]:
        """Yield the distributions that take part in answers, with their versions."""
        for name in ("hokusai-core", "dspy"):
            try:
                yield name, version(name)
            except PackageNotFoundError:  # run from a source tree
                continue
        plugins, strategy = self._services.plugins, self._plan.strategy
        names = _names_in(model).union(*map(_names_in, self.tables.values()))
        wanted = {name.partition("/")[0] for name in names}
        owners = [
            component.owner
            for component in plugins.components("language_model")
            if component.name in wanted or component.qualified_name in wanted
        ]
        if strategy is not None:
            owners.append(plugins.component("strategy", strategy.choice.name).owner)
        for owner in owners:
            if owner is not None and owner.distribution:
                yield owner.distribution, owner.version


def _names_in(model: Any) -> set[str]:
    if isinstance(model, str):
        return {model}
    if isinstance(model, Mapping):
        parts = [part.get("lm") if isinstance(part, Mapping) else part for part in model.get("models") or ()]
        return {str(name) for name in (*parts, model.get("model")) if name}
    return set()


def _called(value: Any) -> str:
    if callable(value):
        return f"the function {getattr(value, '__qualname__', type(value).__name__)}"
    if isinstance(value, Mapping):
        odd = next((item for item in value.values() if callable(item)), None)
        return _called(odd) if odd is not None else "a mapping with objects in it"
    if isinstance(value, (list, tuple)):
        odd = next((item for item in value if callable(item)), None)
        return _called(odd) if odd is not None else "a list with objects in it"
    return f"a {type(value).__name__}"


def _deciding_extras(services: ExecutorServices, *, strategy: bool) -> Iterator[str]:
    """Yield what plugins that were given in process take part in answers by."""
    plugins = services.plugins
    extras = {record.name for record in plugins.records() if record.origin == "in process"}
    kinds = ["validator", "language_model", *(["strategy", "tool", "metric"] if strategy else ())]
    for kind in kinds if extras else ():
        for component in plugins.components(kind):
            if component.owner is not None and component.owner.plugin in extras:
                yield f"{kind.replace('_', ' ')} {component.qualified_name!r}"
    for hook in _DECIDING if extras else ():
        for told, _ in plugins.callers(hook):
            name = told.partition(" ")[0]
            if name in extras:
                yield f"{hook} of {name!r}, a hook"
