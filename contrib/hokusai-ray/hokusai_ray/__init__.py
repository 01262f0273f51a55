"""Batches of Hokusai executions on a Ray cluster."""

__all__: list[str] = []
