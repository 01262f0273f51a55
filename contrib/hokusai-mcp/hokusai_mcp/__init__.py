"""Every Hokusai signature and chain as a typed tool of the Model Context Protocol."""

__all__: list[str] = []
