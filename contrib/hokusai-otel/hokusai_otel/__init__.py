"""OpenTelemetry spans and metrics of Hokusai executions, after the GenAI conventions."""

__all__: list[str] = []
