"""The language models that there are: those of plugins and settings, and those that DSPy's list of prices knows.

The list is read as a file, so that no library is imported for it.
"""

from __future__ import annotations

import datetime
import gzip
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from hokusai_core.cli_support.installed import Installed

if TYPE_CHECKING:
    from hokusai_core.components import Component

__all__ = ["KEY_VARIABLES", "ListedModel", "known_models", "own_models"]

#: Provider -> variable that its key is read from.
KEY_VARIABLES: Final[Mapping[str, str]] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "azure": "AZURE_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "cohere": "COHERE_API_KEY",
    "dashscope": "DASHSCOPE_API_KEY",
    "databricks": "DATABRICKS_API_KEY",
    "deepinfra": "DEEPINFRA_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "fireworks_ai": "FIREWORKS_AI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "moonshot": "MOONSHOT_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "perplexity": "PERPLEXITYAI_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
    "xai": "XAI_API_KEY",
}
_MILLION: Final = 1_000_000
#: What a list of prices calls models that write text.
_TEXT: Final = ("chat", "responses", "completion")


@frozen
class ListedModel:
    """A language model that ``lm=`` and ``--lm`` can name.

    Args:
        name: its name, such as ``openai/gpt-5-mini``.
        provider: the provider, or the plugin that serves it.
        context: tokens of prompt and answer at most; None where that is not known.
        input_price: US dollars for a million tokens of a prompt; None where that is not known.
        output_price: US dollars for a million tokens of an answer.
        key: variable that its key is read from; "" where it needs none, None where that is not known.
        stands_for: the model that a name of the settings stands for.
        default: whether it answers calls that name no other.
    """

    name: str
    provider: str
    context: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    key: str | None = None
    stands_for: str = ""
    default: bool = False

    @property
    def has_key(self) -> bool | None:
        """Whether its key is set; None where that is not known."""
        return None if self.key is None else not self.key or bool(os.environ.get(self.key))


def own_models(found: Installed) -> list[ListedModel]:
    """Return the models of plugins, of the settings, and the one that answers calls that name no other."""
    settings = found.settings
    models: dict[str, ListedModel] = {}
    embedded = ""
    for component in found.plugins.components("language_model"):
        if "address" in component.capabilities:
            continue  # it serves addresses, not names
        free = "embedded" in component.capabilities
        plugin = "" if component.owner is None else component.owner.plugin
        price, key = (0.0, "") if free else (None, None)
        models[component.name] = ListedModel(component.name, plugin, _context(found, component), price, price, key)
        embedded = embedded or (component.name if free else "")
    known: dict[str, ListedModel] | None = None
    for name, table in settings.value("models").items():
        meant = _stands_for(table)
        known = {one.name: one for one in known_models()} if known is None else known
        facts = models.get(meant) or known.get(meant) or _unknown(meant, models)
        key = table.get("api_key_env", facts.key) if isinstance(table, Mapping) else facts.key
        models[name] = evolve(facts, name=name, stands_for=meant, key=key)
    default = os.environ.get("HOKUSAI_LM", "").strip() or settings.value("lm") or embedded
    if isinstance(default, str) and default:
        if default not in models:
            known = {one.name: one for one in known_models()} if known is None else known
            models[default] = known.get(default) or _unknown(default, models)
        models[default] = evolve(models[default], default=True)
    return list(models.values())


def _unknown(name: str, models: Mapping[str, ListedModel]) -> ListedModel:
    """Return a model of which no list tells more than its provider."""
    provider = name.partition("/")[0]
    if provider in models:  # of a plugin, which has more than its default model
        return evolve(models[provider], name=name, context=None)
    return ListedModel(name, provider, key=KEY_VARIABLES.get(provider))


def _context(found: Installed, component: Component) -> int | None:
    """Return the context that the provider of a plugin tells, None where it tells none or fails."""
    try:
        provider = found.plugins.create("language_model", component.qualified_name)
        tokens = provider.context_tokens() if hasattr(provider, "context_tokens") else None
        provider.close()
    except Exception:  # `hokusai doctor` says what is wrong with it
        return None
    return tokens if isinstance(tokens, int) else None


def known_models() -> list[ListedModel]:
    """Return the models that DSPy's list of prices knows and that are still served, by name."""
    today = datetime.date.today().isoformat()
    found: dict[str, ListedModel] = {}
    for name, entry in _entries():
        provider = str(entry.get("litellm_provider") or "")
        if entry.get("mode") not in _TEXT or not provider or str(entry.get("deprecation_date") or "9") < today:
            continue
        full = name if name.startswith(f"{provider}/") else f"{provider}/{name}"
        context = entry.get("max_input_tokens") or entry.get("max_tokens")
        found[full] = ListedModel(
            full,
            provider,
            context if isinstance(context, int) else None,
            _price(entry.get("input_cost_per_token")),
            _price(entry.get("output_cost_per_token")),
            KEY_VARIABLES.get(provider),
        )
    return [found[name] for name in sorted(found)]


def _stands_for(table: Any) -> str:
    """Return in words what a name of the settings stands for."""
    if isinstance(table, str):
        return table
    if isinstance(table, Mapping):
        several = table.get("models")
        if several:
            return " > ".join(map(str, several))
        return str(table.get("model", ""))
    return type(table).__name__


def _entries() -> Iterator[tuple[str, Mapping[str, Any]]]:
    spec = importlib.util.find_spec("dspy")
    if spec is None or spec.origin is None:
        return
    path = Path(spec.origin).parent / "clients" / "model_metadata" / "snapshot.json.gz"
    try:
        data = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, ValueError, EOFError):  # of another version of DSPy
        return
    yield from ((name, entry) for name, entry in data.items() if isinstance(entry, dict) and name != "sample_spec")


def _price(value: Any) -> float | None:
    return round(value * _MILLION, 6) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
