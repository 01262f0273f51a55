"""An HTTP API and a page for people over Hokusai signatures."""

__all__: list[str] = []
