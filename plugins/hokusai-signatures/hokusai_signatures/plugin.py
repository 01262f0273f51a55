"""Hooks of the plugin ``signatures``."""

from __future__ import annotations

import hokusai_signatures as pack
from hokusai_core import BaseSignature, hookimpl


@hookimpl
def provide_signatures() -> list[type[BaseSignature]]:
    """Offer the pre-built signatures."""
    return [getattr(pack, name) for name in pack.__all__]
