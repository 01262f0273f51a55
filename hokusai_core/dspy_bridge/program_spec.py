"""What a DSPy program is: its inputs and outputs, its state, and which of DSPy's own modules can be programs."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import shutil
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import dspy
from attrs import evolve, frozen

from hokusai_core.dspy_bridge.from_dspy import field_specs, is_signature, optional, supported
from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.spec import FieldSpec, SignatureSpec

__all__ = [
    "MODULES",
    "OPEN_OUTPUTS",
    "DspyModule",
    "is_described",
    "is_program",
    "program_state",
    "refuse_program",
    "spec_of_program",
]

#: ``provenance[OPEN_OUTPUTS]`` is true of a program that may return other outputs than those of its spec.
OPEN_OUTPUTS = "open_outputs"


@frozen
class DspyModule:
    """One of DSPy's own modules as a program.

    Args:
        kind: its class.
        inputs: where its inputs come from, for the page that lists the modules.
        refused: why it cannot be a program, "" where it can.
        runs_code: whether it runs code that the model writes, for which DSPy needs Deno.
    """

    kind: Any
    inputs: str = ""
    refused: str = ""
    runs_code: bool = False


_PLAIN = (str, int, float, bool, type(None))

#: Every public class of ``dspy.predict``, and the retrievers, by name. ``docs/signatures.md`` lists them.
MODULES: Final[Mapping[str, DspyModule]] = MappingProxyType(
    {
        "Predict": DspyModule(dspy.Predict, "its signature"),
        "ChainOfThought": DspyModule(dspy.ChainOfThought, "its signature"),
        "ReAct": DspyModule(dspy.ReAct, "its signature"),
        "ReActV2": DspyModule(dspy.ReActV2, "its signature"),
        "BestOfN": DspyModule(dspy.BestOfN, "the module in it"),
        "Refine": DspyModule(dspy.Refine, "the module in it"),
        "MultiChainComparison": DspyModule(dspy.MultiChainComparison, "its signature, and `completions`"),
        "ProgramOfThought": DspyModule(dspy.ProgramOfThought, "its signature", runs_code=True),
        "CodeAct": DspyModule(dspy.CodeAct, "its signature", runs_code=True),
        "RLM": DspyModule(dspy.RLM, "its signature", runs_code=True),
        "Parallel": DspyModule(
            dspy.Parallel,
            refused="it runs other modules on rows. Register the module and call execute_batch, which has a journal "
            "and limits besides",
        ),
        "KNN": DspyModule(
            dspy.KNN,
            refused="it finds examples and calls no language model. Give the signature demos and nearest_demos=..., "
            "or call it in the forward() of a module",
        ),
        "Tool": DspyModule(dspy.Tool, refused="it is a function for dspy.ReAct. Register a dspy.ReAct that has it"),
        "Retrieve": DspyModule(
            dspy.Retrieve, refused="it finds passages and calls no language model. Call it in the forward() of a module"
        ),
        "Embeddings": DspyModule(
            dspy.retrievers.Embeddings,
            refused="it finds passages and calls no language model. Call it in the forward() of a module",
        ),
    }
)


def is_program(value: Any) -> bool:
    """Whether ``value`` is a DSPy program, that is an instance of ``dspy.Module``."""
    return isinstance(value, dspy.Module)


def refuse_program(value: Any, name: str) -> None:
    """Refuse an object of DSPy that cannot be a program.

    Args:
        value: anything.
        name: name that it is to have.

    Raises:
        SignatureDefinitionError: it is, or holds, a module that cannot run; the message says why and what to do.
    """
    for module in MODULES.values():
        if module.refused and isinstance(value, module.kind):
            raise SignatureDefinitionError(
                f"program {name!r}: {type(value).__name__} cannot be a program, because {module.refused}"
            )
    if not is_program(value):
        return
    code_runners = tuple(module.kind for module in MODULES.values() if module.runs_code)
    for _, part in value.named_sub_modules():
        if isinstance(part, code_runners) and not _can_run_code(part):
            raise SignatureDefinitionError(
                f"program {name!r}: {type(part).__name__} runs code that the model writes, for which DSPy needs Deno, "
                "which is not installed. Install it with pip install 'dspy[deno]', or give the module an "
                "interpreter_factory"
            )
    if inspect.iscoroutinefunction(getattr(type(value), "forward", None)):
        kind = type(value).__name__
        raise SignatureDefinitionError(f"program {name!r}: the forward() of {kind} is async; name it aforward()")
    if _entry_of(value) is None:
        raise SignatureDefinitionError(
            f"program {name!r}: {type(value).__name__} has no forward() and no aforward(); write one of them"
        )


def _can_run_code(part: Any) -> bool:
    if getattr(part, "_interpreter_factory", None) is not dspy.PythonInterpreter:
        return True
    if dspy.settings.get("interpreter_factory") is not None:
        return True
    # The package deno is what pip install 'dspy[deno]' brings.
    return importlib.util.find_spec("deno") is not None or shutil.which("deno") is not None


def _entry_of(program: Any) -> Callable[..., Any] | None:
    """Return the function of the class that runs a program: ``forward``, or ``aforward`` if it has that alone."""
    kind = type(program)
    return getattr(kind, "forward", None) or getattr(kind, "aforward", None)


def spec_of_program(program: Any, name: str) -> SignatureSpec:
    """Return what a program takes and gives, as far as that can be known without running it.

    For ``dspy.Predict`` and ``dspy.ChainOfThought`` it is their signature. ``dspy.BestOfN`` and ``dspy.Refine`` take
    and give what the module in them does. Any other module takes the parameters of its ``forward``, or else the inputs
    of its attribute ``signature`` or of its first predictor, and gives the outputs of ``signature`` or else of its last
    predictor. As ``forward`` may return something else, the latter are optional, and the spec says ``open_outputs``.

    Args:
        program: an instance of ``dspy.Module``.
        name: name of the spec.

    Raises:
        SignatureDefinitionError: the program cannot run, or has neither predictors nor parameters to go by.
    """
    refuse_program(program, name)
    if isinstance(program, (dspy.BestOfN, dspy.Refine)):
        inner = spec_of_program(program.module, name)
        return inner.evolve(demos=(), provenance={OPEN_OUTPUTS: True}).check()
    predictor = program if isinstance(program, dspy.Predict) else None
    if type(program) is dspy.ChainOfThought:
        predictor = program.predict
    if predictor is not None:
        return evolve(_known(predictor.signature, name), demos=[dict(demo) for demo in predictor.demos]).check()
    if isinstance(program, dspy.MultiChainComparison):
        return _of_comparison(program, name).check()
    return _guessed(program, name).check()


def _known(signature: Any, name: str) -> SignatureSpec:
    inputs = field_specs(signature.input_fields, "input", lenient=True)
    return SignatureSpec(name, signature.instructions, [*inputs, *field_specs(signature.output_fields, "output")])


def _of_comparison(program: Any, name: str) -> SignatureSpec:
    known = _known(program.predict.signature, name)
    own = [item for item in known.fields if not item.name.startswith("reasoning_attempt_")]
    completions = FieldSpec("completions", "input", list[Any], "Predictions to choose from, as mappings")
    return known.evolve(fields=[completions, *own], provenance={OPEN_OUTPUTS: True})


def _guessed(program: Any, name: str) -> SignatureSpec:
    declared: Any = getattr(program, "signature", None)
    # A signature class is known by its spec: such classes are defined in a higher layer than the bridge.
    spec = getattr(declared, "spec", None) if isinstance(declared, type) else None
    if isinstance(spec, SignatureSpec):
        given = [item for item in spec.fields if item.role == "input"]
        return _open(program, name, _parameters(program) or given, spec.fields, spec.instructions)
    sources = [declared] if is_signature(declared) else [found.signature for _, found in program.named_predictors()]
    if not sources:
        raise SignatureDefinitionError(
            f"program {name!r}: what it returns cannot be known, because {type(program).__name__} holds no predictor; "
            "give it an attribute 'signature' (a dspy.Signature class with its inputs and outputs)"
        )
    inputs = _parameters(program) or field_specs(sources[0].input_fields, "input", lenient=True)
    known = field_specs(sources[-1].output_fields, "output", lenient=True)
    if not is_signature(declared):
        known = [evolve(item, annotation=optional(item.annotation)) for item in known]
    return _open(program, name, inputs, known, sources[-1].instructions)


def _open(
    program: Any, name: str, inputs: typing.Sequence[FieldSpec], known: typing.Sequence[FieldSpec], instructions: str
) -> SignatureSpec:
    """Return the spec of a program that may give other outputs, too."""
    taken = {item.name for item in inputs}
    outputs = [item for item in known if item.role == "output" and item.name not in taken]
    module = type(program).__module__
    written = "" if module.startswith("dspy.") else inspect.cleandoc(type(program).__doc__ or "")
    return SignatureSpec(name, written or instructions, [*inputs, *outputs], provenance={OPEN_OUTPUTS: True})


def _parameters(program: Any) -> list[FieldSpec]:
    if type(program) in [module.kind for module in MODULES.values()]:
        return []  # parameters beside the inputs are about the run
    entry: Any = _entry_of(program)
    try:
        hints = typing.get_type_hints(entry)
    except (NameError, TypeError):  # an annotation that exists for the type checker alone
        hints = {}
    fields = []
    for parameter in list(inspect.signature(entry).parameters.values())[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        required = parameter.default is parameter.empty
        annotation = supported(hints.get(parameter.name, str if required else Any))
        default = None if required else parameter.default
        fields.append(FieldSpec(parameter.name, "input", annotation, required=required, default=default))
    return fields


def is_described(program: Any) -> bool:
    """Return whether ``program_state`` covers a program: code of the host, tools and retrievers have no digest."""
    return type(program) in (dspy.Predict, dspy.ChainOfThought)


def program_state(program: Any) -> str:
    """Return a digest of a program.

    It covers the classes of the program and its parts, their plain attributes, and what DSPy saves of its predictors:
    instructions, demos and language models.
    """
    parts = [
        [name, type(part).__module__, type(part).__qualname__, _plain_attributes(part)]
        for name, part in program.named_sub_modules()
    ]
    try:
        state = program.dump_state()
    except Exception as error:  # DSPy cannot save a part; the program can run anyway
        state = type(error).__name__
    text = json.dumps([parts, state], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _plain_attributes(part: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = getattr(part, "__dict__", {})
    return {name: value for name, value in attributes.items() if type(value) in _PLAIN and not name.startswith("_")}
