"""Raises when it is imported."""

raise RuntimeError("broken\n   at import")
