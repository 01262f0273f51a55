"""Batches of Hokusai executions on half-price batch services of OpenAI and compatible servers."""

__all__: list[str] = []
