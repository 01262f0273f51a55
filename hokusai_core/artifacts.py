"""Optimized signatures as files: one JSON document each, with the data to verify it.

::

    {"hokusai": 1, "kind": "optimized-signature",
     "signature": {...}, "fingerprint": "...",                            as ``BaseSignature.to_dict`` writes it
     "base": {...}, "base_name": "pack/Name", "base_fingerprint": "...",  the signature that it was made from
     "versions": {"hokusai-core": "...", "dspy": "..."}, "dataset_hash": "...", "promoted": true,
     "report": {...}, "checksum": "sha256 of everything else"}

``"certificate": {...}`` may follow the report: what every figure of the comparison can be computed from again.

Reading a file imports and evaluates nothing that it names.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from hokusai_core.base_signature import BaseSignature
from hokusai_core.errors import ArtifactError, SignatureDefinitionError
from hokusai_core.json_encoding import canonical_json
from hokusai_core.signatures import SignatureSpec
from hokusai_core.storage import atomic_write

__all__ = ["FORMAT", "KIND", "Artifact", "ArtifactWarning", "differences", "read_artifact"]

#: Version of the format. A file of a newer version is refused.
FORMAT: Final = 1
KIND: Final = "optimized-signature"

_MAX_BYTES = 50_000_000
_KEYS = {
    "hokusai", "kind", "signature", "fingerprint", "base", "base_name", "base_fingerprint", "versions", "dataset_hash",
    "promoted", "report", "checksum",
}  # fmt: skip
_OPTIONAL_KEYS = {"certificate"}


class ArtifactWarning(UserWarning):
    """A saved signature was made with other versions of libraries than those that read it."""


@frozen(eq=False)
class Artifact:
    """An optimized signature and its origin.

    Args:
        spec: the optimized signature.
        base: the signature that it was made from.
        base_name: the name of ``base``, such as ``pack/Name``.
        report: how the two compare, JSON-able.
        promoted: whether the optimized signature was found to be better.
        dataset_hash: digest of the examples that were used.
        versions: versions of the libraries that made it.
        certificate: recorded answers and what else the figures of the report can be computed from again, JSON-able;
            None where there is none.
    """

    spec: SignatureSpec
    base: SignatureSpec
    base_name: str
    report: Mapping[str, Any] = field(factory=dict)
    promoted: bool = False
    dataset_hash: str = ""
    versions: Mapping[str, str] = field(factory=lambda: current_versions())
    certificate: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the whole content: the ``checksum`` of the document."""
        return str(self.to_dict()["checksum"])

    @property
    def signature(self) -> type[BaseSignature]:
        """The optimized signature as a class, with this artifact as its attribute ``artifact``."""
        return BaseSignature.from_spec(self.spec, attributes={"artifact": self, "promoted": self.promoted})

    def to_dict(self) -> dict[str, Any]:
        """Return the document.

        Raises:
            SignatureDefinitionError: a demo, default or type has no JSON form.
        """
        data: dict[str, Any] = {
            "hokusai": FORMAT,
            "kind": KIND,
            "signature": self.spec.to_dict(),
            "fingerprint": self.spec.fingerprint,
            "base": self.base.to_dict(),
            "base_name": self.base_name,
            "base_fingerprint": self.base.fingerprint,
            "versions": dict(self.versions),
            "dataset_hash": self.dataset_hash,
            "promoted": self.promoted,
            "report": json.loads(json.dumps(self.report, allow_nan=False)),
        }
        if self.certificate is not None:
            data["certificate"] = json.loads(json.dumps(self.certificate, allow_nan=False))
        return {**data, "checksum": _checksum(data)}

    @classmethod
    def from_dict(cls, data: Any, origin: str = "artifact") -> Artifact:
        """Return the artifact that ``to_dict`` wrote, after every check that needs no other signature.

        Args:
            data: the document.
            origin: where it comes from, for errors.

        Raises:
            ArtifactError: the document is of another kind or a newer format, or was changed after it was written.
        """
        _check_document(data, origin)
        try:
            spec, base = SignatureSpec.from_dict(data["signature"]), SignatureSpec.from_dict(data["base"])
        except SignatureDefinitionError as error:
            raise ArtifactError(f"{origin}: {error}") from error
        _check_fingerprint(origin, "signature", data["fingerprint"], spec)
        _check_fingerprint(origin, "base", data["base_fingerprint"], base)
        _check_versions(origin, data["versions"])
        return cls(
            spec=spec,
            base=base,
            base_name=data["base_name"],
            report=data["report"],
            promoted=data["promoted"],
            dataset_hash=data["dataset_hash"],
            versions=data["versions"],
            certificate=data.get("certificate"),
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the document to a file and return the path. The file is complete and on disk, or unchanged."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        atomic_write(path, [text.encode()])
        return Path(path)

    def differences(self, other: SignatureSpec) -> list[str]:
        """Return how prompts and answers of ``other`` differ, in words; empty if they do not."""
        return differences(self.spec, other)

    def check_base(self, found: SignatureSpec) -> None:
        """Raise if the signature that this one was made from has changed.

        Args:
            found: the installed signature of that name.

        Raises:
            ArtifactError: it has changed; lists the differences.
        """
        if found.fingerprint == self.base.fingerprint:
            return
        changes = "".join(f"\n- {line}" for line in differences(self.base, found))
        raise ArtifactError(
            f"the optimized {self.spec.name} {self.spec.version} was made from {self.base_name} {self.base.version} "
            f"({self.base.fingerprint[:8]}), but {self.base_name} is now {found.version} ({found.fingerprint[:8]}):"
            f"{changes}\nOptimize it again for the new version, or install the version that it was made from"
        )


def read_artifact(path: str | os.PathLike[str]) -> Artifact:
    """Return the artifact in a file.

    Raises:
        ArtifactError: the file is missing or cannot be used; says why.
    """
    source = Path(path)
    try:
        with source.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ArtifactError(f"{source}: cannot be read: {error.strerror or error}") from error
    if len(content) > _MAX_BYTES:
        raise ArtifactError(f"{source}: is larger than {_MAX_BYTES // 1_000_000} MB, too large for a signature")
    try:
        data = json.loads(content, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{source}: is not JSON: {error}") from error
    return Artifact.from_dict(data, str(source))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number in JSON")


def differences(old: SignatureSpec, new: SignatureSpec) -> list[str]:
    """Return how prompts and answers of two signatures differ, in words; empty if they do not."""
    return list(_differences(old.to_dict(), new.to_dict()))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before, after = ({item["name"]: item for item in data["fields"]} for data in (old, new))
    yield from (f"{_label(before[name])} is gone" for name in before if name not in after)
    yield from (f"{_label(after[name])} is new" for name in after if name not in before)
    for name in before:
        if name not in after:
            continue
        for key in sorted({*before[name], *after[name]}):
            was, now = before[name].get(key), after[name].get(key)
            if was != now:
                yield f"{_label(before[name])}: {key} was {_shown(was)}, is {_shown(now)}"
    shared = [name for name in before if name in after]
    if shared != [name for name in after if name in before]:
        yield f"the order of the fields was {', '.join(before)}, is {', '.join(after)}"
    if old["instructions"] != new["instructions"]:
        yield f"instructions were {_shown(old['instructions'])}, are {_shown(new['instructions'])}"
    if old.get("types") != new.get("types"):
        yield "the models that fields are made of have changed"
    if old.get("nearest_demos") != new.get("nearest_demos"):
        yield f"nearest_demos was {_shown(old.get('nearest_demos'))}, is {_shown(new.get('nearest_demos'))}"
    yield from _demo_differences(old.get("demos", []), new.get("demos", []), "")
    yield from _strategy_differences(old.get("strategy"), new.get("strategy"))
    states, others = old.get("predictors", {}), new.get("predictors", {})
    for name in dict.fromkeys((*states, *others)):
        was, now = states.get(name), others.get(name)
        if was is None or now is None:
            yield f"predictor {name!r} {'is optimized' if was is None else 'is as its program has it'}"
            continue
        if was["fields"] != now["fields"]:
            yield f"predictor {name!r} has other fields"
        if was["instructions"] != now["instructions"]:
            texts = _shown(was["instructions"]), _shown(now["instructions"])
            yield f"predictor {name!r}: instructions were {texts[0]}, are {texts[1]}"
        yield from _demo_differences(was["demos"], now["demos"], f"predictor {name!r}: ")


def _strategy_differences(old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    before, after = (dict(_steps(choice)) for choice in (old, new))
    if not before or not after:
        yield f"strategy was {_shown(old)}, is {_shown(new)}"
        return
    yield from (f"step {key!r} is gone" for key in before if key not in after)
    yield from (f"step {key!r} is new" for key in after if key not in before)
    for key in before:
        if key not in after:
            continue
        was, now = before[key], after[key]
        if ("branches" in was) != ("branches" in now):
            yield f"step {key!r} {'has no branches any more' if 'branches' in was else 'has branches'}"
        elif "signature" in was:
            yield from (f"step {key!r}: {line}" for line in _differences(was["signature"], now["signature"]))
        if was["inputs"] != now["inputs"]:
            yield f"step {key!r}: its inputs came from {_shown(was['inputs'])}, come from {_shown(now['inputs'])}"
    tables = dict.fromkeys(name for choice in (old, new) for name in choice["options"] if name != "steps")
    for name in tables:
        if old["options"].get(name) != new["options"].get(name):
            yield f"the {name} of the steps have changed"


def _steps(choice: Any) -> Iterator[tuple[str, Any]]:
    """Yield key and data of each step and branch of a chain that was written as a strategy."""
    waiting = choice.get("options", {}).get("steps", ()) if choice and choice["name"] == "chain" else ()
    yield from _steps_in(waiting, "")


def _steps_in(steps: Iterable[Any], around: str) -> Iterator[tuple[str, Any]]:
    for step in steps:
        key = f"{around}{step['name']}"
        yield key, step
        yield from _steps_in(step.get("branches", ()), f"{key}.")


def _demo_differences(old: list[Any], new: list[Any], label: str) -> Iterator[str]:
    if old != new:
        kept = sum(demo in old for demo in new)
        yield f"{label}demos were {len(old)}, are {len(new)}, of which {kept} are the same"


def _label(item: Mapping[str, Any]) -> str:
    return f"{item['role']} {item['name']!r}"


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:297]}..."


def current_versions() -> dict[str, str]:
    """Return the versions that decide how a signature becomes a prompt."""
    # Imported here because both are slow to import, and listings import this module.
    import importlib.metadata
    import platform

    return {
        "hokusai-core": importlib.metadata.version("hokusai-core"),
        "dspy": importlib.metadata.version("dspy"),
        "python": platform.python_version(),
    }


def _check_document(data: Any, origin: str) -> None:
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise ArtifactError(f"{origin}: is not an optimized signature (it has no 'kind': {KIND!r})")
    version = data.get("hokusai")
    if type(version) is not int or version < 1:
        raise ArtifactError(f"{origin}: 'hokusai' must be the version of the format, not {version!r}")
    if version > FORMAT:
        raise ArtifactError(
            f"{origin}: is of format {version}, newer than {FORMAT}, which this hokusai-core reads; upgrade it"
        )
    missing, unknown = sorted(_KEYS - data.keys()), sorted(data.keys() - _KEYS - _OPTIONAL_KEYS)
    if missing or unknown:
        raise ArtifactError(f"{origin}: {_keys('lacks', missing)}{_keys('has the unknown', unknown)}".rstrip("; "))
    expected = {"base_name": str, "versions": dict, "dataset_hash": str, "promoted": bool, "report": dict}
    for key, kind in expected.items():
        if type(data[key]) is not kind:
            raise ArtifactError(f"{origin}: {key!r} must be of type {kind.__name__}")
    if type(data.get("certificate", {})) is not dict:
        raise ArtifactError(f"{origin}: 'certificate' must be of type dict")
    if data["checksum"] != _checksum({key: value for key, value in data.items() if key != "checksum"}):
        raise ArtifactError(
            f"{origin}: was changed after it was written (its checksum does not fit): {_changed(data)}. Save it again "
            "from the program that made it; to change a signature by hand, write it as a class"
        )


def _changed(data: Mapping[str, Any]) -> str:
    """Return what was changed in a document after it was written, as far as its fingerprints show."""
    told = []
    for what, fingerprint in (("signature", "fingerprint"), ("base", "base_fingerprint")):
        try:
            spec = SignatureSpec.from_dict(data[what])
        except SignatureDefinitionError as error:
            told.append(f"its {what} cannot be read ({error})")
            continue
        if spec.fingerprint != data[fingerprint]:
            told.append(
                f"the fingerprint of its {what} is written as {data[fingerprint]!r} but is {spec.fingerprint!r}"
            )
    return "; ".join(told) or "instructions, fields and demos are unchanged, but something else is not"


def _keys(word: str, names: list[str]) -> str:
    return f"{word} {', '.join(map(repr, names))}; " if names else ""


def _check_fingerprint(origin: str, what: str, written: Any, spec: SignatureSpec) -> None:
    if written != spec.fingerprint:
        raise ArtifactError(
            f"{origin}: the fingerprint of its {what} is written as {written!r} but is {spec.fingerprint!r}; it was "
            "made by an incompatible version of hokusai-core, so optimize it again"
        )


def _check_versions(origin: str, versions: Mapping[str, Any]) -> None:
    made, here = str(versions.get("dspy", "")), current_versions()["dspy"]
    if not made or made.split(".")[0] != here.split(".")[0]:
        raise ArtifactError(
            f"{origin}: was measured with DSPy {made or 'of an unknown version'}, and this is DSPy {here}, which may "
            "write other prompts; optimize it again"
        )
    if made.split(".")[:2] != here.split(".")[:2]:
        warnings.warn(
            f"{origin}: was measured with DSPy {made}; this is DSPy {here}, so its scores may differ",
            ArtifactWarning,
            stacklevel=4,
        )


def _checksum(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(data)).hexdigest()
