"""AcmeSample: refuses inputs that hold a password."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hokusai_core.plugin_api import Problem, SignatureSpec

__all__ = ["AcmeSample"]

_PASSWORD = re.compile(r"password\s*(is|:|=)\s*\S", re.IGNORECASE)


class AcmeSample:
    """Looks at every text of every execution, so it is quick, and never quotes a value."""

    def validate_inputs(self, signature: SignatureSpec, inputs: Mapping[str, Any]) -> Sequence[Problem]:
        """Return a problem for each input with a password. Nothing is paid for then."""
        return [
            Problem(name, "password", "holds a password; leave it out")
            for name, value in inputs.items()
            if isinstance(value, str) and _PASSWORD.search(value)
        ]

    def validate_outputs(
        self, signature: SignatureSpec, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> Sequence[Problem]:
        """Accept all outputs."""
        return ()
