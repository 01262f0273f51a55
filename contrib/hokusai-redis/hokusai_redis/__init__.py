"""A cache of Hokusai answers that processes and machines share, in Redis or Valkey."""

__all__: list[str] = []
