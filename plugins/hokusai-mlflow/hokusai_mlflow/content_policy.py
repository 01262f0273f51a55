"""ContentPolicy: selects, redacts and limits the content of an execution before it is recorded."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from hokusai_mlflow.options import Redactor, TrackingOptions

__all__ = ["REDACTION_FAILED", "ContentPolicy", "RedactionWarning"]

#: Stands where values were that the redaction hook could not look at.
REDACTION_FAILED: Final = "[left out: redaction failed]"

_DUMPS: Final = orjson.OPT_NON_STR_KEYS

# The core leaves credentials out already. A provider's new parameter must not depend on that.
_CREDENTIAL: Final = re.compile(
    r"key|secret|passw|credential|authori[sz]ation|header|cookie|bearer|(^|_)(auth|token)($|_)|access_token",
    re.IGNORECASE,
)


class RedactionWarning(UserWarning):
    """The redaction hook failed; content was left out of the record."""


class ContentPolicy:
    """Applies the content options.

    Args:
        options: the tracker's options.
    """

    def __init__(self, options: TrackingOptions) -> None:
        self.inputs = options.content in ("inputs", "both")
        self.outputs = options.content in ("outputs", "both")
        #: Whether values may be recorded in whatever form they come.
        self.whole = self.inputs and self.outputs and options.redact is None
        #: Whether prompts and raw answers may be: a redaction hook cannot look for a field's value in them.
        self.exchanges = options.content != "metadata" and options.redact is None
        #: Whether the prompts of signatures may be, with their demos.
        self.prompts = options.prompts and self.whole
        self.registry_alias = options.registry_alias
        self.redaction_failures = 0
        self._limit = options.max_value_size
        self._redact: Redactor | None = options.redact
        self._lock = threading.Lock()

    def values(self, kind: str, values: Mapping[str, Any], cut: dict[str, int]) -> dict[str, Any]:
        """Return what may be recorded of ``values``.

        Args:
            kind: ``inputs``, ``outputs``, ``error``, ``tags`` or ``feedback``.
            values: JSON-able values by name.
            cut: notes the full size of each value that is cut, by ``kind.name``.
        """
        if self._redact is not None:
            values = self._redacted(kind, values)
        limit = self._limit
        kept: dict[str, Any] = {}
        for name, value in values.items():
            if type(value) is str:
                if len(value) > limit:
                    value = self._shortened(kind, name, value, cut)
            elif not (value is None or isinstance(value, (int, float))):
                encoded = orjson.dumps(value, default=str, option=_DUMPS)
                if len(encoded) > limit:
                    value = self._shortened(kind, name, encoded.decode("utf-8", "replace"), cut)
                else:
                    value = orjson.Fragment(encoded)
            kept[name] = value
        return kept

    def fits(self, texts: Iterable[Any]) -> bool:
        """Return whether all of ``texts`` may be recorded as they are: texts of a length that is not cut."""
        limit = self._limit
        for text in texts:  # noqa: SIM110  # a generator inside `all` would take three times as long
            if type(text) is not str or len(text) > limit:
                return False
        return True

    def text(self, kind: str, text: str | None, cut: dict[str, int]) -> str | None:
        """Return what may be recorded of one text, such as the message of an error."""
        return None if text is None else str(self.values(kind, {kind: text}, cut).get(kind, ""))

    def parameters(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return a language model's parameters without anything that may be a credential."""
        return self.values("parameters", _without_credentials(parameters), {})

    def _shortened(self, kind: str, name: str, text: str, cut: dict[str, int]) -> str:
        cut[f"{kind}.{name}"] = len(text)
        left_out = len(text) - self._limit
        return f"{text[: self._limit]} [cut: {left_out} of {len(text)} characters left out]"

    def _redacted(self, kind: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._redact is not None  # noqa: S101  # for the type checker: the caller has looked
        try:
            redacted = self._redact(kind, values)
            if not isinstance(redacted, Mapping):
                raise TypeError(f"it returned {type(redacted).__name__} instead of a mapping")
            return redacted
        except Exception as error:
            # The error's own text may quote the values, so only its class is named.
            with self._lock:
                self.redaction_failures += 1
                first = self.redaction_failures == 1
            if first:
                warnings.warn(
                    f"the redaction hook of MLflow tracking failed on {kind} ({type(error).__name__}); they are left "
                    "out of the record, further failures are counted in executor.stats()",
                    RedactionWarning,
                    stacklevel=2,
                )
            return dict.fromkeys(values, REDACTION_FAILED)


def _without_credentials(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): _without_credentials(item)
            for name, item in value.items()
            if not _CREDENTIAL.search(str(name)) or str(name).endswith("tokens")
        }
    if isinstance(value, (list, tuple)):
        return [_without_credentials(item) for item in value]
    return value
