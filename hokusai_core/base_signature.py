"""BaseSignature: signatures as Python classes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from hokusai_core.call_advice import method_advice
from hokusai_core.signatures.class_reader import ClassBody, bodies, body_of
from hokusai_core.signatures.fields import FieldDeclaration
from hokusai_core.signatures.spec import SignatureSpec

if TYPE_CHECKING:
    from hokusai_core.signatures.strategy_choice import StrategyChoice

__all__ = ["BaseSignature", "SignatureMeta"]

#: What DSPy reads of a signature class. ``dspy.Predict(Sig)`` keeps the class it is given, so these have to work on it.
_DSPY_ATTRIBUTES = frozenset(
    {
        "append",
        "append_instructions",
        "delete",
        "dump_state",
        "fields",
        "input_fields",
        "insert",
        "instructions",
        "load_state",
        "model_fields",
        "model_json_schema",
        "output_fields",
        "prepend",
        "signature",
        "with_instructions",
        "with_updated_fields",
    }
)

_Class = TypeVar("_Class", bound="SignatureMeta")


class SignatureMeta(type):
    """Makes signature classes: reads the fields from the class body, and makes the class usable as a DSPy signature."""

    __signature_body__: ClassBody

    def __new__(mcs: type[_Class], name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Class:
        """Make the class, without its fields among the attributes."""
        declared = {key: value for key, value in namespace.items() if isinstance(value, FieldDeclaration)}
        # A field may be called like an attribute that DSPy or this class needs; as a class attribute it would hide it.
        body = {key: value for key, value in namespace.items() if key not in declared}
        annotations = namespace.get("__annotations__")
        body["__signature_body__"] = ClassBody(declared, annotations, _local_names(annotations, sys._getframe(1)))
        return super().__new__(mcs, name, bases, body)

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a signature has no instances."""
        raise TypeError(
            f"{cls.__name__} is run, not instantiated: executor.execute_signature({cls.__name__!r}, {{...}}), "
            f"or dspy.Predict({cls.__name__})(...)"
        )

    @property
    def spec(cls) -> SignatureSpec:
        """The signature as data; built when it is first asked for.

        Raises:
            SignatureDefinitionError: listing every problem of the definition.
        """
        resolved = body_of(cls).resolved
        if "spec" not in resolved:
            from hokusai_core.signatures.class_reader import build_spec  # most classes of a pack are never used

            # Two threads may both build it; all callers get the one that was stored first.
            resolved.setdefault("spec", build_spec(cls))
        return resolved["spec"]

    def equals(cls, other: Any) -> bool:
        """Return whether DSPy takes ``other``, a signature of either kind, for the same; its optimizers ask."""
        mine, theirs = (item.to_dspy() if isinstance(item, SignatureMeta) else item for item in (cls, other))
        return bool(mine.equals(theirs))

    def __getattr__(cls, name: str) -> Any:
        if name in _DSPY_ATTRIBUTES:
            return getattr(cast("type[BaseSignature]", cls).to_dspy(), name)
        if any(name in body.declared for _, body in bodies(cls)):
            raise AttributeError(f"{name!r} is a field of {cls.__name__}; {cls.__name__}.spec describes it")
        advice = method_advice("a signature", name, cls.__name__)
        raise AttributeError(advice or f"signature class {cls.__name__!r} has no attribute {name!r}")

    def __setattr__(cls, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(
                f"{cls.__name__}.{name} cannot be set: a signature does not change once it is defined; derive a class, "
                f"or use {cls.__name__}.with_instructions(...)"
            )
        super().__setattr__(name, value)


def _local_names(annotations: Mapping[str, Any] | None, frame: Any) -> dict[str, Any]:
    """Keep the local variables that string annotations mention: the frame is gone when they are resolved."""
    if frame.f_locals is frame.f_globals or not annotations:
        return {}
    import re  # already loaded by then; not worth a global of a module that most classes do not reach

    text = " ".join(str(value) for value in annotations.values() if not isinstance(value, type))
    return {name: frame.f_locals[name] for name in set(re.findall(r"\w+", text)) if name in frame.f_locals}


class BaseSignature(metaclass=SignatureMeta):
    """Base class of signatures. The docstring of a subclass holds the instructions for the language model.

    Metadata are plain class attributes: ``version``, ``category``, ``tags``, ``examples``, ``aliases``,
    ``deprecated`` (True, or what to use instead), ``cache_ttl`` (seconds), ``strategy`` (a name, or a mapping of
    ``name`` and options) and ``parameters`` (of the language model, such as ``{"temperature": 0.2}``). Problems of a
    definition are raised all together when the signature is first used, so one bad signature does not take its module
    along.

    Example:
        >>> from hokusai_core import SignatureField
        >>> class SummarizeEmail(BaseSignature):
        ...     "Summarize an email into key points."
        ...     email_content = SignatureField("The full email content to summarize")
        ...     summary = SignatureField("A concise summary", prefix="Summary:")
        >>> SummarizeEmail.spec.describe()
        'email_content -> summary'
    """

    version: str = "1.0.0"
    category: str = ""
    tags: tuple[str, ...] | list[str] = ()
    examples: tuple[Mapping[str, Any], ...] | list[Mapping[str, Any]] = ()
    aliases: tuple[str, ...] | list[str] = ()
    deprecated: str | bool | None = None
    cache_ttl: float | None = None
    strategy: str | Mapping[str, Any] | StrategyChoice | None = None
    parameters: Mapping[str, Any] | None = None

    if TYPE_CHECKING:
        # To type checkers ``result.outputs`` is an instance of its signature class. It can be read by key as well.
        def __getitem__(self, name: str) -> Any: ...

    @classmethod
    def to_dspy(cls) -> Any:
        """Return the ``dspy.Signature`` class of this signature. Every call returns the same class. Imports DSPy.

        Raises:
            SignatureDefinitionError: listing every problem of the definition.
        """
        from hokusai_core.dspy_bridge.to_dspy import to_dspy

        return to_dspy(cls.spec)

    @classmethod
    def to_dict(cls) -> dict[str, Any]:
        """Return the signature as JSON-able data.

        Raises:
            SignatureDefinitionError: where a default, demo or type has no JSON form.
        """
        return cls.spec.to_dict()

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> type[BaseSignature]:
        """Return a signature class equal to the one whose ``to_dict`` wrote ``data``.

        Raises:
            SignatureDefinitionError: naming the path of what is malformed.
        """
        return BaseSignature.from_spec(SignatureSpec.from_dict(data))

    @staticmethod
    def from_spec(
        spec: SignatureSpec,
        *,
        base: type[BaseSignature] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> type[BaseSignature]:
        """Return a signature class whose ``spec`` is ``spec``.

        Args:
            spec: the signature as data.
            base: a class without fields to derive from, for what it adds to signatures; None for ``BaseSignature``.
            attributes: further class attributes, such as a report; they may be called like a field.

        Raises:
            SignatureDefinitionError: listing every problem of the spec.
        """
        spec.check()
        namespace: dict[str, Any] = {
            "__doc__": spec.instructions,
            "__module__": __name__,
            "__annotations__": {item.name: item.annotation for item in spec.fields},
            "version": spec.version,
            "category": spec.category,
            "tags": spec.tags,
            "examples": spec.examples,
            "aliases": spec.aliases,
            "deprecated": spec.deprecated,
            "cache_ttl": spec.cache_ttl,
            "strategy": spec.strategy,
            "parameters": spec.parameters,
            # Last: a field may be called ``version`` or ``tags``.
            **{item.name: FieldDeclaration.of(item) for item in spec.fields},
        }
        made = cast("type[BaseSignature]", SignatureMeta(spec.name, (base or BaseSignature,), namespace))
        body_of(made).resolved["spec"] = spec
        for name, value in (attributes or {}).items():
            type.__setattr__(made, name, value)  # a signature class itself lets nothing be set
        return made
