"""Make the prompt of a signature with a variable in place of the value of each input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from hokusai_core.errors import PromptError
from hokusai_core.events import PromptTemplate
from hokusai_core.json_encoding import canonical_json
from hokusai_core.loggers import AreaLogger

if TYPE_CHECKING:
    from hokusai_core.signature_registry import RegisteredSignature

__all__ = ["make_template"]

_LOG: Final = AreaLogger("tracking")


def make_template(registered: RegisteredSignature, calls: Any, parameters: Mapping[str, Any]) -> PromptTemplate | None:
    """Return the prompt of a signature; None where it has none that could be shown.

    Demos of a signature with sensitive fields are left out. Where it came out of an optimization, its instructions may
    quote them too, and there is no prompt to show.

    Args:
        registered: the signature.
        calls: what makes its calls.
        parameters: parameters of the language model.
    """
    spec, artifact = registered.spec, getattr(registered.signature_class, "artifact", None)
    if spec.sensitive and (artifact is not None or registered.edition is not None):
        return None
    name = registered.qualified_name if artifact is None or "/" not in artifact.base_name else artifact.base_name
    try:
        messages, demos = calls.template(parameters, demos=not spec.sensitive)
    except PromptError:
        return None
    except Exception as error:  # an adapter of the host's own; the execution itself has gone well
        _LOG.info("%s has no prompt to show: %s", name, type(error).__name__)
        return None
    adapter = type(calls.adapter).__name__
    digest = hashlib.blake2b(canonical_json([name, spec.version, spec.fingerprint, adapter, messages]), digest_size=12)
    return PromptTemplate(
        key=digest.hexdigest(),
        name=name,
        signature_version=spec.version,
        fingerprint=spec.fingerprint,
        messages=tuple(messages),
        adapter=adapter,
        demos=demos,
        figures={} if artifact is None else _figures(artifact),
    )


def _figures(artifact: Any) -> dict[str, Any]:
    """Return the numbers and short texts in the report of an optimization."""
    plain = {name: value for name, value in artifact.report.items() if _is_plain(value)}
    metric = artifact.report.get("metric")
    named = {"metric": {"name": metric["name"]}} if isinstance(metric, Mapping) and "name" in metric else {}
    return {**plain, **named, "promoted": artifact.promoted}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, (int, float)) for item in value)
    return isinstance(value, (str, bool, int, float))
