"""Export of a signature as an MLflow model that ``mlflow models serve`` runs.

The model is code and JSON: MLflow copies ``pyfunc_model.py`` and the signature into it, and nothing is pickled.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hokusai_core.plugin_api import SignatureSpec

__all__ = ["log_pyfunc"]


def log_pyfunc(
    signature: SignatureSpec | Mapping[str, Any],
    *,
    lm: str | None = None,
    name: str | None = None,
    registered_model_name: str | None = None,
    pip_requirements: Sequence[str] = ("hokusai-core", "mlflow"),
) -> str:
    """Log a signature as a pyfunc model in MLflow's current run and store.

    Args:
        signature: the signature, or what its ``to_dict`` returned.
        lm: name of the language model that serves it; left out, ``HOKUSAI_LM`` where it is served.
        name: name of the model; left out, the signature's.
        registered_model_name: registers it under this name, too.
        pip_requirements: what serving it needs to have installed.

    Returns:
        Its address, for ``mlflow models serve --model-uri``.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    spec = signature if isinstance(signature, SignatureSpec) else SignatureSpec.from_dict(signature)
    # Every column is text: the signature's own coercion is stricter than MLflow's and knows its types.
    inputs = Schema([ColSpec(DataType.string, field, required=spec.inputs[field].required) for field in spec.inputs])
    outputs = Schema([ColSpec(DataType.string, field) for field in spec.outputs])
    with tempfile.TemporaryDirectory(prefix="hokusai-") as folder:
        path = Path(folder) / "signature.json"
        path.write_text(json.dumps(spec.to_dict()), encoding="utf-8")
        with warnings.catch_warnings():
            # MLflow would run the model with the example, and so pay for an answer.
            warnings.filterwarnings("ignore", ".*input example was not provided", UserWarning)
            logged = mlflow.pyfunc.log_model(
                name=name or spec.name,
                python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                artifacts={"signature": str(path)},
                model_config={"lm": lm},
                signature=ModelSignature(inputs, outputs),
                pip_requirements=list(pip_requirements),
                registered_model_name=registered_model_name,
            )
    return str(logged.model_uri)
