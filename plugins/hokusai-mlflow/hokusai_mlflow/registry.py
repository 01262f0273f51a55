"""Optimizations as MLflow runs, and optimized signatures in MLflow's model registry: JSON in, JSON out."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from hokusai_core.errors import ConfigurationError, SignatureDefinitionError, TrackingError
from hokusai_core.plugin_api import SignatureSpec
from hokusai_mlflow.destination import absolute_uri, default_uri, public_uri
from hokusai_mlflow.optimization_result import (
    SIGNATURE_FILE,
    Trial,
    parameters_of,
    result_of,
    scores_of,
    trials_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["LoggedOptimization", "Trial", "load_signature", "log_optimization", "model_uri_parts"]

_MODEL_URI: Final = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
#: A signature with demos is some kilobytes; what is larger is no signature.
_LARGEST: Final = 16 * 2**20


@frozen
class LoggedOptimization:
    """Where an optimization was recorded.

    Args:
        run_id: its run.
        model_uri: the winner in the model registry, None where it was not promoted.
        version: the winner's version there.
    """

    run_id: str
    model_uri: str | None = None
    version: int | None = field(default=None)


def log_optimization(
    name: str | None = None,
    *,
    winner: Any,
    trials: Iterable[Trial] | None = None,
    baseline_score: float | None = None,
    winner_score: float | None = None,
    promote: bool | None = None,
    alias: str = "champion",
    parameters: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    experiment: str = "Hokusai optimizations",
    tracking_uri: str | None = None,
) -> LoggedOptimization:
    """Record an optimization: a run with every candidate and its score, and the winner as a registered model.

    Args:
        name: of the signature; the registered model is called so. None for the name that the winner has.
        winner: what ``TelepromptFineTuner.compile`` returned, or the path of the file that it was saved to: it brings
            all that follows with it. Or any other signature class or spec, or what ``to_dict`` returned of one.
        trials: the candidates, in order; None for those in the winner's report.
        baseline_score: held-out score of the signature as it was; None for what the report says.
        winner_score: held-out score of the winner; None for what the report says.
        promote: whether the winner gets a version in the registry, and the alias; None for what its gate decided.
        alias: which alias points to the winner from now on.
        parameters: settings of the optimizer, in addition to those in the report.
        tags: tags of the run.
        experiment: name of the experiment; made where it does not exist.
        tracking_uri: the store; left out, the one that executions are tracked in.

    Returns:
        The run, and the model that ``register_signature`` takes.

    Raises:
        SignatureDefinitionError: ``winner`` is no valid signature.
        ArtifactError: the file of the winner cannot be used.
        mlflow.exceptions.MlflowException: the store refuses or cannot be reached.

    Example::

        optimized = TelepromptFineTuner().compile("EmailDraft", examples)
        log_optimization(winner=optimized)
        executor.register_signature("EmailDraft", "models:/EmailDraft@champion", replace=True)
    """
    from hokusai_mlflow.delivery.mlflow_optimizations import register_winner, write_optimization

    found = result_of(winner)
    name = name or found.name
    given = {"baseline_score": baseline_score, "winner_score": winner_score}
    client = _client(tracking_uri)
    run = client.create_run(_experiment(client, experiment), tags=dict(tags or {}), run_name=f"optimize {name}")
    run_id = run.info.run_id
    try:
        write_optimization(
            client,
            run_id,
            trials=trials_of(found.report) if trials is None else list(trials),
            scores=scores_of(found.report) | {key: value for key, value in given.items() if value is not None},
            parameters={**parameters_of(found.report), **(parameters or {})},
            winner=found,
        )
        registered = found.promoted if promote is None else promote
        version = register_winner(client, run, name, alias, found.spec) if registered else None
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    uri = None if version is None else f"models:/{name}@{alias}"
    return LoggedOptimization(run_id, uri, version)


def load_signature(uri: str, *, tracking_uri: str | None = None) -> dict[str, Any]:
    """Load a signature from MLflow's model registry. Nothing of it is executed or unpickled.

    Args:
        uri: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        tracking_uri: the store; left out, the one that executions are tracked in.

    Returns:
        What ``BaseSignature.from_dict`` takes.

    Raises:
        ConfigurationError: ``uri`` has another form, or names no model.
        SignatureDefinitionError: the model holds no signature.
        TrackingError: the registry cannot be asked.

    Example::

        executor.register_signature("EmailDraft", "models:/EmailDraft@champion", replace=True)  # calls this
    """
    import mlflow

    client = _client(tracking_uri)
    name, version = _resolved(client, uri)
    source = client.get_model_version_download_uri(name, version)
    with tempfile.TemporaryDirectory(prefix="hokusai-") as folder:
        local = mlflow.artifacts.download_artifacts(
            artifact_uri=source, dst_path=folder, tracking_uri=_store(tracking_uri)
        )
        data = _read(Path(local), uri)
    SignatureSpec.from_dict(data)  # what is damaged is named here, not at the first execution
    return data


def model_uri_parts(uri: str) -> tuple[str, str | None, str | None]:
    """Return name, alias and version of ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises:
        ConfigurationError: it has another form.
    """
    found = _MODEL_URI.fullmatch(uri)
    if found is None:
        raise ConfigurationError(f"{uri!r} is no registered model: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    return found["name"], found["alias"], found["version"]


def _store(tracking_uri: str | None) -> str:
    chosen = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if chosen:
        return absolute_uri(chosen)
    uri = default_uri()
    Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return uri


def _client(tracking_uri: str | None) -> MlflowClient:
    from mlflow import MlflowClient

    # Where no store is named, the host may have set another one for models.
    return MlflowClient(_store(tracking_uri), registry_uri=tracking_uri)


def _experiment(client: MlflowClient, name: str) -> str:
    from hokusai_mlflow.delivery.mlflow_runs import experiment_id

    return experiment_id(client, {"name": name}, client.tracking_uri)


def _resolved(client: MlflowClient, uri: str) -> tuple[str, str]:
    from mlflow.exceptions import MlflowException

    name, alias, version = model_uri_parts(uri)
    try:
        if alias is None:
            return name, str(client.get_model_version(name, version).version)
        return name, str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        where = public_uri(str(client._registry_uri))
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise TrackingError(
                f"{uri!r}: the model registry {where} cannot be asked ({_first_line(error)})"
            ) from error
        raise ConfigurationError(f"{uri!r} names no model of {where}; {_what_there_is(client, name)}") from error


def _what_there_is(client: MlflowClient, name: str) -> str:
    from hokusai_mlflow.delivery.mlflow_runs import quoted

    models = {model.name: model for model in client.search_registered_models(max_results=100)}
    if name not in models:
        return f"it has {', '.join(models) or 'none'}"
    versions = client.search_model_versions(f"name = '{quoted(name)}'", max_results=20)
    numbers = ", ".join(str(version.version) for version in reversed(versions)) or "none"
    return f"{name} has the aliases {', '.join(models[name].aliases) or 'none'} and the versions {numbers}"


def _first_line(error: Exception) -> str:
    return public_uri(str(error).partition("\n")[0][:300])


def _read(folder: Path, uri: str) -> dict[str, Any]:
    path = folder / SIGNATURE_FILE
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise SignatureDefinitionError(
            f"{uri} holds no {SIGNATURE_FILE}: it was not registered by log_optimization; register the signature with "
            "that"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SignatureDefinitionError(f"{uri}: {SIGNATURE_FILE} is damaged ({error})") from None
    if not isinstance(data, dict):
        raise SignatureDefinitionError(f"{uri}: {SIGNATURE_FILE} holds {type(data).__name__} instead of a signature")
    return data
