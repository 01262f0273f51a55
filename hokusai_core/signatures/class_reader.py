"""Read a signature class into its spec: inheritance, types, roles, metadata and instructions."""

from __future__ import annotations

import builtins
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hokusai_core.model_parameters import checked_parameters
from hokusai_core.signatures.definition_checks import definition_problems, raise_problems
from hokusai_core.signatures.fields import FieldDeclaration, Role
from hokusai_core.signatures.plain_values import is_plain_example
from hokusai_core.signatures.spec import SignatureSpec
from hokusai_core.suggestions import closest

if TYPE_CHECKING:
    from hokusai_core.results import Problem  # listings make no problems

__all__ = ["ClassBody", "bodies", "body_of", "build_spec", "example_problems"]

_INHERITED = ("version", "category", "tags", "cache_ttl", "strategy", "parameters")
#: A derived signature is found under its own name only, is not deprecated with its base, and has its own fields.
_OWN = ("examples", "aliases", "deprecated")
_METADATA = (*_INHERITED, *_OWN)
_VERSION = re.compile(r"v?\d\w*(?:[.+-]\w+)*", re.ASCII)
_SIMPLE = {name: getattr(builtins, name) for name in ("str", "int", "float", "bool")}


class ClassBody:
    """What one class statement declared, kept until the signature is first used.

    Args:
        declared: field name -> declaration, in order.
        annotations: name -> annotation as written; None where the interpreter computes them on demand.
        local_names: names that string annotations mention and that exist where the class was defined.
    """

    __slots__ = ("annotations", "declared", "local_names", "resolved")

    def __init__(
        self,
        declared: dict[str, FieldDeclaration],
        annotations: Mapping[str, Any] | None,
        local_names: Mapping[str, Any],
    ) -> None:
        self.declared = declared
        self.annotations = annotations
        self.local_names = local_names
        self.resolved: dict[str, SignatureSpec] = {}


def body_of(cls: type) -> ClassBody:
    """Return the declarations of this class itself, without inherited ones."""
    body: ClassBody = vars(cls)["__signature_body__"]
    return body


def bodies(cls: type) -> list[tuple[type, ClassBody]]:
    """Return the classes that a signature class is made of, the oldest first, without ``BaseSignature``."""
    found = [(base, body_of(base)) for base in reversed(cls.__mro__) if "__signature_body__" in vars(base)]
    return found[1:]


def build_spec(cls: type) -> SignatureSpec:
    """Build the spec of a signature class.

    Raises:
        SignatureDefinitionError: listing every problem.
    """
    problems: list[str] = []
    declared, annotations = _collect(cls, problems)
    roles = _roles(declared)
    if roles:
        problems += _flipped_roles(cls, roles)
    fields = [
        declaration.to_spec(name, roles[name], annotations.get(name, str)) for name, declaration in declared.items()
    ]
    spec = SignatureSpec(
        name=cls.__name__,
        instructions=_instructions(cls) or _generated_instructions(roles),
        fields=fields,
        **_metadata(cls, problems),
    )
    problems += _misspelt(cls)
    problems += definition_problems(spec)
    if not problems and not all(is_plain_example(spec, example) for example in spec.examples):
        # An example may leave fields out.
        problems += (str(problem) for problem in example_problems(spec) if problem.code != "missing")
    raise_problems(cls.__name__, problems)
    return spec


def _misspelt(cls: type) -> Iterator[str]:
    """Find class attributes that mean nothing and look like one that does."""
    for base, _ in bodies(cls):
        for name, value in vars(base).items():
            if name in _METADATA or name.startswith("_") or callable(value) or hasattr(value, "__get__"):
                continue
            meant = closest(name, _METADATA)
            if meant is not None:
                yield f"attribute {name!r} means nothing; did you mean {meant!r}?"


def _collect(cls: type, problems: list[str]) -> tuple[dict[str, FieldDeclaration], dict[str, Any]]:
    declared: dict[str, FieldDeclaration] = {}
    annotations: dict[str, Any] = {}
    for base, body in bodies(cls):
        written = _annotations(base, body, problems)
        declared.update(body.declared)  # an overridden field keeps its place
        for name in body.declared:
            annotations.pop(name, None)  # declared again without a type: str again
        for name, annotation in written.items():
            if name in declared:
                annotations[name] = _resolve(annotation, name, base, body, problems)
            elif name not in vars(base) and name not in _METADATA and not _is_class_var(annotation):
                problems.append(f"{name!r} has a type but is not a field; write '{name}: ... = InputField()'")
        problems += (
            f"field {name!r} is a field of DSPy; declare it with the InputField or OutputField of hokusai_core"
            for name, value in vars(base).items()
            if type(value).__name__ == "FieldInfo" and type(value).__module__.startswith("pydantic")
        )
        problems += (
            f"{name!r} is a validator of pydantic, which signatures do not run; put it into a pydantic model, or write "
            "an output validator"
            for name, value in vars(base).items()
            if type(value).__name__ == "PydanticDescriptorProxy"
        )
    return declared, annotations


def _annotations(base: type, body: ClassBody, problems: list[str]) -> Mapping[str, Any]:
    if body.annotations is not None or sys.version_info < (3, 14):
        return body.annotations or {}
    try:
        return inspect.get_annotations(base)  # computed on demand since Python 3.14
    except NameError as error:
        problems.append(f"its annotations mention {error.name!r}, which is not known; import or define it first")
        return {}


def _is_class_var(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.startswith(("ClassVar", "typing.ClassVar"))
    return annotation is typing.ClassVar or typing.get_origin(annotation) is typing.ClassVar


def _resolve(annotation: Any, name: str, base: type, body: ClassBody, problems: list[str]) -> Any:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation
    scope = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
    if annotation in _SIMPLE and annotation not in scope and annotation not in body.local_names:
        return _SIMPLE[annotation]
    holder = SimpleNamespace(__annotations__={name: annotation})
    local_names = {**body.local_names, **{key: value for key, value in vars(base).items() if isinstance(value, type)}}
    try:
        return typing.get_type_hints(holder, scope, local_names, include_extras=True)[name]
    except NameError as error:
        where = "import it at module level, not under TYPE_CHECKING, or define it before the signature"
        problems.append(f"field {name!r}: its type {annotation!r} mentions {error.name!r}, which is not known; {where}")
    except Exception as error:
        problems.append(f"field {name!r}: its type {annotation!r} cannot be resolved: {type(error).__name__}: {error}")
    return str


def _roles(declared: Mapping[str, FieldDeclaration]) -> dict[str, Role]:
    roles: dict[str, Role | None] = {
        name: item.role or ("output" if item.prefix is not None else None) for name, item in declared.items()
    }
    last = next(reversed(roles), None)
    if last is not None and "output" not in roles.values() and roles[last] is None:
        roles[last] = "output"
    return {name: role or "input" for name, role in roles.items()}


def _flipped_roles(cls: type, roles: Mapping[str, Role]) -> Iterator[str]:
    """Find fields whose inferred role another class of the hierarchy would silently turn around."""
    for base, _ in reversed(bodies(cls)[:-1]):
        inherited: dict[str, FieldDeclaration] = {}
        for _, body in bodies(base):
            inherited.update(body.declared)
        if len(inherited) < 2:
            continue  # not usable on its own, so no caller has seen its roles
        for name, role in _roles(inherited).items():
            if roles[name] != role and inherited[name].role is None and _same_declaration(cls, name, inherited[name]):
                yield (
                    f"field {name!r} is an {role} of {base.__name__} but would be an {roles[name]} here; "
                    f"declare it with InputField or OutputField in {base.__name__}"
                )


def _same_declaration(cls: type, name: str, declaration: FieldDeclaration) -> bool:
    latest = [body.declared[name] for _, body in bodies(cls) if name in body.declared]
    return latest[-1] is declaration


def _metadata(cls: type, problems: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(cls, name) for name in _INHERITED}
    found |= {name: vars(cls).get(name, None if name == "deprecated" else ()) for name in _OWN}
    version = found["version"]
    if isinstance(version, str) and not _VERSION.fullmatch(version):
        problems.append(f"version {version[:40]!r} is not a version; write numbers with dots, such as 1.0.0")
    for name in ("tags", "examples", "aliases"):
        if isinstance(found[name], (str, bytes, Mapping)) or not hasattr(found[name], "__iter__"):
            problems.append(f"{name} must be a tuple or list, not {type(found[name]).__name__}")
            found[name] = ()
    if found["strategy"] is not None:
        from hokusai_core.signatures.strategy_choice import StrategyChoice  # most signatures declare none

        try:
            found["strategy"] = StrategyChoice.of(found["strategy"])
        except ValueError as error:
            problems.append(f"strategy: {error}")
            found["strategy"] = None
    try:
        found["parameters"] = checked_parameters(found["parameters"])
    except ValueError as error:
        problems.append(f"parameters: {error}")
        found["parameters"] = {}
    if isinstance(found["deprecated"], bool):
        found["deprecated"] = "" if found["deprecated"] else None
    return found


def _instructions(cls: type) -> str:
    texts = (inspect.cleandoc(vars(base).get("__doc__") or "") for base, _ in reversed(bodies(cls)))
    return next((text for text in texts if text), "")


def _generated_instructions(roles: Mapping[str, Role]) -> str:
    def quoted(role: Role) -> str:
        return ", ".join(f"`{name}`" for name, value in roles.items() if value == role)

    return f"Given the fields {quoted('input')}, produce the fields {quoted('output')}."


def example_problems(spec: SignatureSpec) -> list[Problem]:
    """Return everything that keeps the examples of ``spec`` from being inputs and outputs of it.

    Fields are named ``examples[0].inputs.topic``.
    """
    problems: list[Problem] = []
    for number, example in enumerate(spec.examples):
        inputs = example["inputs"]
        found = [("inputs", problem) for problem in spec.binder.problems(inputs)]
        if all(problem.code == "missing" for _, problem in found):
            bound = {} if found else spec.binder.bind(inputs)
            found += [
                ("outputs", problem)
                for problem in spec.codec.check(bound, example["outputs"])
                if bound or problem.code != "not_a_choice"  # the choices are among the inputs
            ]
        problems += (evolve(problem, field=f"examples[{number}].{part}.{problem.field}") for part, problem in found)
    return problems
