"""Ways to answer a signature: chain of thought, tools, several tries. ``docs/strategies.md`` describes each."""

__all__: list[str] = []
