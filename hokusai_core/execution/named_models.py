"""NamedModels: language models and policies that a setting or ``hokusai.toml`` gives a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hokusai_core.errors import ConfigurationError
from hokusai_core.execution.model_policy import ModelPolicy, PolicyModel
from hokusai_core.suggestions import did_you_mean

__all__ = ["NamedModels"]

_ONE = ("model", "parameters", "timeout", "api_base", "api_key_env", "options")
_NESTED = "{} is a policy, and a policy consists of single models"
_SEVERAL = ("models", "move_on", "failures", "reset_after")


class ModelName(str):
    """The name of a model as its provider knows it, which no table is looked up for."""

    __slots__ = ()


class NamedModels:
    """The named models of one executor.

    Args:
        tables: name -> table of settings, ``ModelPolicy``, name of another model, or language model.
        environ: environment in which ``api_key_env`` is looked up.
        make: makes a language model from its name and settings of ``dspy.LM``.
    """

    def __init__(self, tables: Mapping[str, Any], environ: Mapping[str, str], make: Callable[..., Any]) -> None:
        self._tables, self._environ, self._make = tables, environ, make
        self._found: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tables

    def find(self, name: str) -> Any:
        """Return the policy, language model or other name that ``name`` stands for.

        Raises:
            ConfigurationError: its table cannot be used; says why.
        """
        if name not in self._found:
            table = self._tables[name]
            if not isinstance(table, Mapping):
                self._found[name] = table
            elif "models" in table:
                self._found[name] = self._policy(name, table)
            else:
                self._found[name] = ModelPolicy([self._model(name)], failures=None)
        return self._found[name]

    def settled(self, model: PolicyModel) -> PolicyModel:
        """Return a model of a policy with the settings of the table that it names; its own go before them.

        Raises:
            ConfigurationError: it names a policy, or its table cannot be used.
        """
        if type(model.lm) is not str or model.lm not in self._tables:
            return model
        found = self.find(model.lm)
        if not isinstance(found, ModelPolicy):
            return model
        if len(found.models) > 1:
            raise ConfigurationError(_NESTED.format(model.lm))
        inner = found.models[0]
        timeout = inner.timeout if model.timeout is None else model.timeout
        return PolicyModel(inner.lm, {**inner.parameters, **model.parameters}, timeout)

    def _policy(self, name: str, table: Mapping[str, Any]) -> ModelPolicy:
        _check_keys(name, table, _SEVERAL)
        if isinstance(table["models"], str) or not isinstance(table["models"], Sequence):
            raise ConfigurationError(f"models.{name}: models: expected a list of names, the first one first")
        try:
            models = [self._model(part) for part in table["models"]]
            return ModelPolicy(models, **{key: table[key] for key in _SEVERAL[1:] if key in table})
        except ConfigurationError as error:
            raise ConfigurationError(f"models.{name}: {error}") from None

    def _model(self, name: Any) -> Any:
        """Return the model that a name stands for; one that is in no table means itself."""
        table = self._tables.get(name) if isinstance(name, str) else None
        if table is None:
            return name
        if not isinstance(table, Mapping):
            return table
        if "models" in table:
            raise ConfigurationError(_NESTED.format(name))
        _check_keys(name, table, _ONE)
        model = table.get("model")
        if not isinstance(model, str) or not model.strip():
            raise ConfigurationError(f"models.{name}: model: expected a name such as 'openai/gpt-5-mini'")
        try:
            return PolicyModel(self._language_model(model, table), table.get("parameters") or {}, table.get("timeout"))
        except (ConfigurationError, ValueError) as error:
            raise ConfigurationError(f"models.{name}: {error}") from None

    def _language_model(self, model: str, table: Mapping[str, Any]) -> Any:
        options = table.get("options", {})
        if not isinstance(options, Mapping):
            raise ConfigurationError("options: expected settings of dspy.LM by name")
        secret = [key for key in options if "key" in key.lower() or "token" in key.lower()]
        if secret:
            raise ConfigurationError(f"options: {secret[0]}: credentials stay in the environment; use api_key_env")
        settings = dict(options)
        if not isinstance(table.get("api_base", ""), str):
            raise ConfigurationError("api_base: expected an address such as 'http://127.0.0.1:8000/v1'")
        if "api_base" in table:
            settings["api_base"] = table["api_base"]
        if "api_key_env" in table:
            variable = str(table["api_key_env"])
            if not self._environ.get(variable):
                raise ConfigurationError(f"api_key_env: the environment variable {variable} is not set")
            settings["api_key"] = self._environ[variable]
        return self._make(model, **settings) if settings else ModelName(model)


def _check_keys(name: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise ConfigurationError(
                f"models.{name}: there is no {key!r}{did_you_mean(key, known)}; there are {', '.join(known)}"
            )
