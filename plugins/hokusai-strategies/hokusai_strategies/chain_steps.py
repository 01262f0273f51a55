"""The steps of a chain as data, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from hokusai_core.errors import ConfigurationError, HokusaiError
from hokusai_core.plugin_api import SignatureSpec, did_you_mean

__all__ = ["ChainStep", "problems_of"]

#: Forms of a value, each a mapping with this key.
_FORMS = frozenset({"input", "step", "value", "list", "mapping"})


@frozen(eq=False)
class ChainStep:
    """A step, or a branch of one.

    Args:
        name: its name.
        key: its name, behind those of the steps around it.
        inputs: input field -> value.
        spec: its signature, None for a step with branches.
        branches: its branches, of which one runs.
    """

    name: str
    key: str
    inputs: Mapping[str, Any]
    spec: SignatureSpec | None = None
    branches: tuple[ChainStep, ...] = ()

    @classmethod
    def read(cls, data: Any, around: str = "") -> ChainStep:
        """Return the step that data stands for.

        Raises:
            ConfigurationError: it is none.
        """
        parts = set(data) if isinstance(data, Mapping) else set()
        if parts not in ({"name", "signature", "inputs"}, {"name", "branches", "inputs"}):
            raise ConfigurationError("strategy 'chain': a step has a name, a signature or branches, and inputs")
        key = f"{around}{data['name']}"
        if not isinstance(data["inputs"], Mapping):
            raise ConfigurationError(f"strategy 'chain': step {key!r}: inputs: expected a mapping")
        if "branches" in parts:
            if not isinstance(data["branches"], Sequence) or not data["branches"]:
                raise ConfigurationError(f"strategy 'chain': step {key!r}: branches: expected a list of steps")
            branches = tuple(cls.read(item, f"{key}.") for item in data["branches"])
            return cls(str(data["name"]), key, dict(data["inputs"]), branches=branches)
        try:
            return cls(str(data["name"]), key, dict(data["inputs"]), SignatureSpec.from_dict(data["signature"]))
        except HokusaiError as error:
            raise ConfigurationError(f"strategy 'chain': step {key!r}: {error}") from error

    @property
    def own_spec(self) -> SignatureSpec:
        """The signature of a step without branches."""
        if self.spec is None:
            raise ConfigurationError(f"strategy 'chain': step {self.key!r} has branches and no signature")
        return self.spec

    def leaves(self) -> Iterator[ChainStep]:
        """Yield the step, or those of its branches that have a signature."""
        if not self.branches:
            yield self
        for branch in self.branches:
            yield from branch.leaves()

    def outputs(self) -> set[str] | None:
        """Return the names of the outputs that it may give, None where they are not known."""
        found: set[str] = set()
        for leaf in self.leaves():
            if leaf.own_spec.open_outputs:
                return None
            found |= leaf.own_spec.outputs.keys()
        return found


def problems_of(
    spec: SignatureSpec, steps: Sequence[ChainStep], tables: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield what is wrong with the steps of a chain, before any of them is run.

    Args:
        spec: the signature that the chain answers.
        steps: the steps.
        tables: what the strategy is given by the keys of steps.
    """
    earlier: dict[str, ChainStep] = {}
    for step in steps:
        if step.key in earlier:
            yield f"step {step.key!r} is there twice"
        yield from _problems_of_step(step, spec.name, spec.inputs, earlier)
        given = step.inputs.keys()
        if step.spec is not None:
            lacking = (name for name, item in step.spec.inputs.items() if item.required and name not in given)
            yield from (f"step {step.key!r} lacks {name}" for name in lacking)
        earlier[step.key] = step
    known = {leaf.key for step in steps for leaf in step.leaves()} | {key for step in steps for key in _keys(step)}
    for table, values in tables.items():
        yield from (
            f"{table}: there is no step {key!r}{did_you_mean(key, known)}" for key in values if key not in known
        )
    given_last = steps[-1].outputs()
    if given_last is not None:
        yield from (f"step {steps[-1].key!r} gives no {name}" for name in spec.outputs if name not in given_last)


def _keys(step: ChainStep) -> Iterator[str]:
    for branch in step.branches:
        yield branch.key
        yield from _keys(branch)


def _problems_of_step(
    step: ChainStep, source: str, inputs: Mapping[str, Any], earlier: Mapping[str, ChainStep]
) -> Iterator[str]:
    """Yield what is wrong with the inputs of a step, which come from those of ``source`` and from earlier steps."""
    where = f"step {step.key!r}"
    for name, form in step.inputs.items():
        if step.spec is not None and name not in step.spec.inputs:
            yield f"{where} has no input {name!r}{did_you_mean(name, step.spec.inputs)}"
        yield from (f"{where}: {name}: {problem}" for problem in _problems_of_form(form, source, inputs, earlier))
    for branch in step.branches:
        yield from _problems_of_step(branch, where, step.inputs, {})


def _problems_of_form(
    form: Any, source: str, inputs: Mapping[str, Any], earlier: Mapping[str, ChainStep]
) -> Iterator[str]:
    kinds = _FORMS & form.keys() if isinstance(form, Mapping) else ()
    if len(kinds) != 1 or (set(form) != {*kinds} and set(form) != {"step", "field"}):
        yield f"a value has one of {', '.join(sorted(_FORMS))}, not {form!r}"
    elif "input" in form:
        if form["input"] not in inputs:
            yield f"{source} has no input {form['input']!r}"
    elif "step" in form:
        if form["step"] not in earlier:
            yield f"there is no step {form['step']!r} before it"
            return
        outputs = earlier[form["step"]].outputs()
        if outputs is not None and form.get("field") not in outputs:
            yield f"step {form['step']!r} has no output {form.get('field')!r}"
    else:
        inner = form.get("list") or (form.get("mapping") or {}).values()
        for item in inner if "value" not in form else ():
            yield from _problems_of_form(item, source, inputs, earlier)
