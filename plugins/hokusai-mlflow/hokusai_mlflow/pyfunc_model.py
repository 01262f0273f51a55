"""The code of an exported model; MLflow copies this file into it and runs it when the model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from hokusai_core import BaseSignature, Executor
from hokusai_core.errors import HokusaiError


class SignatureModel(mlflow.pyfunc.PythonModel):
    """Executes a signature once for each row."""

    def load_context(self, context: Any) -> None:
        """Make an executor that knows the signature."""
        data = json.loads(Path(context.artifacts["signature"]).read_text(encoding="utf-8"))
        self._executor = Executor(lm=context.model_config.get("lm"))
        self._executor.register_signature("model", BaseSignature.from_dict(data))

    # MLflow reads the annotation: from another type it would guess the schema that the model comes with.
    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return the outputs of each row; ``error`` in place of them where it failed."""
        return [self._row(row) for row in model_input.to_dict("records")]

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return dict(self._executor.execute_signature("local/model", _given(row)))
        except HokusaiError as error:  # the other rows of the request are answered
            return {"error": f"{type(error).__name__}: {error}"}


def _given(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and value == value}  # NaN: not given


mlflow.models.set_model(SignatureModel())
