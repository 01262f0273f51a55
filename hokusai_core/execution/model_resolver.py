"""ModelResolver: finds the language model of a call, and raises a clear error if none is available."""

from __future__ import annotations

import contextlib
import sys
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hokusai_core.call_advice import own_name_of_model
from hokusai_core.errors import (
    ClosedError,
    ConfigurationError,
    HokusaiError,
    LanguageModelError,
    LanguageModelUnavailable,
    PluginError,
)
from hokusai_core.execution.model_policy import ModelPolicy, PolicyModel
from hokusai_core.execution.named_models import NamedModels
from hokusai_core.install_command import install_command
from hokusai_core.model import LanguageModel
from hokusai_core.process import fork_callbacks, fork_gate, made_after_fork, said_notes
from hokusai_core.redaction import printable_cause, scrub, scrubbed_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import LanguageModelProvider

__all__ = ["ADDRESS", "EMBEDDED", "ModelResolver", "no_language_model", "print_note"]

#: Capability of a language-model component that needs no key and no network; such a one is the last resort.
EMBEDDED = "embedded"
#: Capability of a language-model component that makes models of addresses such as ``http://127.0.0.1:8000/v1#model``.
ADDRESS = "address"
_EMBEDDED_DISTRIBUTION = "hokusai-local"


@frozen
class _Embedded:
    """An embedded model and the name under which it was found."""

    name: str
    model: LanguageModel


class ModelResolver:
    """Finds language models for one executor and keeps those that it loaded.

    The first one available answers: the call's, the executor's, the host's ``dspy.settings.lm``, ``HOKUSAI_LM``, that
    of the project file, an embedded one that is installed.

    Args:
        plugins: where language-model providers come from.
        default: the executor's own model, by name, as ``dspy.LM`` or as ``LanguageModel``; None for none.
        environ: environment in which ``HOKUSAI_LM`` is looked up.
        project: the model that the project file names, None for none.
        named: tables of models by name.
    """

    def __init__(
        self,
        plugins: PluginManager,
        default: Any,
        environ: Mapping[str, str],
        *,
        project: Any = None,
        named: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._plugins, self._default, self._environ, self._project = plugins, default, environ, project
        self._tables = NamedModels(named, environ, self._make)
        self._named: dict[str, LanguageModel] = {}
        self._providers: dict[str, LanguageModelProvider] = {}
        self._embedded: _Embedded | None = None
        self._lock = threading.RLock()
        self._bridge: Any = None
        self._last: LanguageModel | None = None
        #: Providers and models of parent processes; kept, as freeing one would free what the parent uses.
        self._inherited: list[Any] = []
        self._announced = False
        #: Called with a note that a user reads once.
        self.announce: Callable[[str], object] = print_note
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._inherited += [self._providers, self._named, self._embedded]
        self._providers = {name: one for name, one in self._providers.items() if not made_after_fork(one)}
        self._named, self._embedded, self._last = {}, None, None

    def resolve(self, requested: Any = None) -> LanguageModel:
        """Return the language model for a call.

        Args:
            requested: what the call asks for: a name, a ``dspy.LM``, a ``LanguageModel``, or None; of a policy the
                first model is taken.

        Raises:
            LanguageModelUnavailable: there is none, or the one asked for cannot be had; says how to get one.
        """
        return self.load(self.choose(requested))

    def load(self, chosen: Any) -> LanguageModel:
        """Return the language model for what ``choose`` has returned; of a policy the first one."""
        last = self._last
        if last is not None and last.lm is chosen:
            return last
        if chosen is None:
            return self._find_embedded()
        if isinstance(chosen, ModelPolicy):
            chosen = chosen.models[0]
        if isinstance(chosen, PolicyModel):
            return self.resolve(self.settled(chosen).lm)
        return self._named_model(chosen) if isinstance(chosen, str) else self._given(chosen)

    def settled(self, model: PolicyModel) -> PolicyModel:
        """Return a model of a policy with the settings of the table that it names; its own go before them.

        Raises:
            ConfigurationError: it names a policy, or its table cannot be used.
        """
        return self._tables.settled(model)

    def asked(self, requested: Any = None) -> Any:
        """Return what a call asks for, or what answers a call that asks for none. No table of models is looked up."""
        chosen = requested if requested is not None else self._default
        if chosen is None:
            chosen = self._host()
        if chosen is None:
            chosen = self._environ.get("HOKUSAI_LM", "").strip() or self._project or None
        return chosen

    def choose(self, requested: Any = None) -> Any:
        """Return the policy, model or name that ``asked`` stands for; None for an embedded model."""
        chosen = self.asked(requested)
        return self._tables.find(chosen) if type(chosen) is str and chosen in self._tables else chosen

    def prepare(self, requested: Any = None) -> None:
        """Load the model that a call asks for; of a policy, the first one that can be asked."""
        chosen = self.choose(requested)
        for model in chosen.askable if isinstance(chosen, ModelPolicy) else ():
            with contextlib.suppress(LanguageModelError):  # the next one is asked
                self.resolve(self.settled(model).lm)
                return
        if not isinstance(chosen, ModelPolicy):
            self.resolve(chosen)

    def at_hand(self, requested: Any = None) -> bool:
        """Return whether ``prepare`` has nothing to load, which an event loop must not stand still for."""
        chosen = self.choose(requested)
        if isinstance(chosen, ModelPolicy):
            return all(self.at_hand(self.settled(model).lm) for model in chosen.askable[:1])
        return self._embedded is not None if chosen is None else not isinstance(chosen, str) or chosen in self._named

    def source(self) -> str:
        """Return in words where the language model of a call without one of its own would come from."""
        if self._default is not None:
            return "argument"
        if self._host() is not None:
            return "dspy.settings.lm of the host"
        if self._environ.get("HOKUSAI_LM", "").strip():
            return "environment HOKUSAI_LM"
        return "project file" if self._project else "embedded"

    def describe(self) -> str:
        """Return the name of the model that would answer a call without one of its own; nothing is loaded for it."""
        chosen = self._default if self._default is not None else self._host()
        if chosen is None:
            chosen = self._environ.get("HOKUSAI_LM", "").strip() or self._project or ""
        if isinstance(chosen, str):
            return chosen or ", ".join(self._embedded_names())
        return str(getattr(getattr(chosen, "lm", chosen), "model", chosen))

    def _embedded_names(self) -> list[str]:
        try:
            offers = self._plugins.components("language_model")
        except ClosedError:  # settings can still be read
            return []
        return [component.qualified_name for component in offers if EMBEDDED in component.capabilities]

    def close(self) -> None:
        """Close the providers that were used."""
        with self._lock:
            providers, self._providers = list(self._providers.values()), {}
            self._named.clear()
            self._embedded = self._last = None
        errors: list[Exception] = []
        for provider in providers:
            try:
                provider.close()
            except Exception as error:  # the others must still be closed
                errors.append(error)
        if errors:
            raise ExceptionGroup("closing language-model providers", errors)

    def _host(self) -> Any:
        # A host that has not imported dspy cannot have configured it; importing it here would cost every start.
        return self._dspy().host_language_model() if "dspy" in sys.modules else None

    def _dspy(self) -> Any:
        if self._bridge is None:
            with fork_gate:  # a child process could not go on with a module that is half imported
                from hokusai_core import dspy_bridge

            self._bridge = dspy_bridge
        return self._bridge

    def _make(self, name: str, **settings: Any) -> Any:
        return self._dspy().default_language_model(name, **settings)

    def _given(self, chosen: Any) -> LanguageModel:
        model = chosen if isinstance(chosen, LanguageModel) else LanguageModel(chosen)
        if not self._dspy().is_language_model(model.lm):
            if isinstance(chosen, type):
                name = chosen.__name__
                raise ConfigurationError(f"lm={name} is a class: give a model, such as {name}('openai/gpt-5-mini')")
            library = type(chosen).__module__.partition(".")[0]
            meant = own_name_of_model(chosen)
            names = f"a name, here {meant!r}" if meant else "a name such as 'local' or 'openai/gpt-5-mini'"
            raise ConfigurationError(
                f"lm={type(chosen).__name__} of {library} is not a language model of DSPy: give a dspy.LM, or {names}"
            )
        if model is not chosen:
            self._last = model
        return model

    def _named_model(self, name: str) -> LanguageModel:
        with self._lock:
            if name not in self._named:
                provider, _, rest = name.partition("/")
                if "://" in name.partition("#")[0] and provider.endswith(":"):
                    self._named[name] = self._load(self._provider_of_addresses(name), name)
                elif provider in {component.name for component in self._plugins.components("language_model")}:
                    self._named[name] = self._load(provider, rest)
                else:
                    self._named[name] = LanguageModel(self._dspy().default_language_model(name))
            return self._named[name]

    def _provider_of_addresses(self, name: str) -> str:
        """Return the provider that makes models of addresses."""
        offers = [one for one in self._plugins.components("language_model") if ADDRESS in one.capabilities]
        if not offers:
            raise LanguageModelUnavailable(
                f"{scrub(name)!r} is the address of a server, and no installed plugin takes one: run "
                f"`{install_command('hokusai-openai')}`"
            )
        return offers[0].qualified_name

    def _provider(self, name: str) -> LanguageModelProvider:
        if name not in self._providers:
            self._providers[name] = self._plugins.create("language_model", name)
        return self._providers[name]

    def _load(self, provider: str, name: str) -> LanguageModel:
        try:
            model = self._provider(provider).load(name)
        except HokusaiError:
            raise
        except Exception as error:
            raise LanguageModelUnavailable(
                f"language-model provider {provider!r} could not load {name or 'its default model'!r} "
                f"({scrubbed_error(error)}); see the cause, or choose another with lm=..."
            ) from printable_cause(error)
        if not isinstance(model, LanguageModel) or not self._dspy().is_language_model(model.lm):
            raise PluginError(
                f"language-model provider {provider!r} returned {type(model).__name__} for {name or 'its default'!r}; "
                "its load() must return a hokusai_core.LanguageModel that holds a dspy.LM"
            )
        return model

    def _find_embedded(self) -> LanguageModel:
        with self._lock:
            if self._embedded is None:
                self._embedded = self._load_embedded()
                self._announce(self._embedded.name)
            return self._embedded.model

    def _announce(self, name: str) -> None:
        if not self._announced:
            self._announced = True
            self.announce(
                f"no language model is configured, so the embedded one answers ({name}). Choose another with lm=... "
                "(--lm in a terminal), dspy.configure(lm=...) or HOKUSAI_LM.",
            )

    def say(self, notes: Iterable[str]) -> None:
        """Print notes, each once in this process."""
        for note in notes:
            if said_notes.is_new(note):
                self.announce(note)

    def _load_embedded(self) -> _Embedded:
        reasons = []
        embedded = [one for one in self._plugins.components("language_model") if EMBEDDED in one.capabilities]
        for component in embedded:
            try:
                provider = self._provider(component.qualified_name)
                reason = provider.available()
                if reason is None:
                    return _Embedded(component.name, self._load(component.qualified_name, ""))
            except (PluginError, LanguageModelUnavailable) as error:
                reason = str(error)
            except Exception as error:  # a provider that fails is one that cannot serve; the next may
                reason = scrubbed_error(error)
            reasons.append(reason if len(embedded) == 1 else f"{component.qualified_name}: {reason}")
        reasons += [
            f"the plugin {record.name!r} of {record.distribution} is switched off (plugins=, disable_plugins=, "
            "HOKUSAI_PLUGINS or HOKUSAI_DISABLE_PLUGINS)"
            for record in self._plugins.records()
            if record.state == "disabled" and record.distribution == _EMBEDDED_DISTRIBUTION
        ]
        raise no_language_model(reasons)


def print_note(note: str) -> None:
    """Print a note about a model that the user did not choose."""
    sys.stderr.write(f"hokusai: {note}\n")


def no_language_model(reasons: list[str]) -> HokusaiError:
    """Return the error for a call that found no language model at all."""
    embedded = "; ".join(reasons) if reasons else f"none is installed ({install_command(_EMBEDDED_DISTRIBUTION)})"
    return LanguageModelUnavailable(
        "there is no language model: pass lm='provider/model', call dspy.configure(lm=dspy.LM(...)), or set "
        f"HOKUSAI_LM=openai/gpt-5-mini (with that provider's API key). Embedded model: {embedded}"
    )
