"""What this plugin offers. Hokusai imports this module whenever plugins are listed, so it stays light."""

from __future__ import annotations

from hokusai_core import BaseSignature, hookimpl

__all__ = ["HOKUSAI_HOOK_API", "provide_signatures"]

#: Version of the hook contract that this plugin was written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_signatures() -> list[type[BaseSignature]]:
    """Offer the signatures of this pack."""
    import acme_sample

    return [getattr(acme_sample, name) for name in acme_sample.__all__]
