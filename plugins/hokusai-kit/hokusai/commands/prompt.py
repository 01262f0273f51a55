"""``hokusai prompt``."""

from __future__ import annotations

from typing import Any

import click

from hokusai.execution_flags import execution_flags
from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import input_option, inputs_option, json_option, signature_argument
from hokusai_core.cli_support.tables import print_json, print_styled
from hokusai_core.plugin_api import jsonable

__all__ = ["prompt"]


@click.command()
@signature_argument
@input_option
@inputs_option
@execution_flags("lm")
@click.option("--adapter", type=click.Choice(["chat", "json", "xml"]), help="Format of the prompt.")
@json_option
def prompt(
    name: str,
    inputs: tuple[str, ...],
    source: str | None,
    adapter: str | None,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Show what running signature NAME would send, and count its tokens. Nothing is sent.

    \b
    hokusai prompt SummarizeText -i document=@report.txt -i max_length="2 sentences"
    hokusai prompt ClassifyText -i text=@mail.txt -i categories="Praise, Complaint" --adapter json
    """
    from hokusai.command_executor import make_executor  # help does without
    from hokusai_core.cli_support.signature_argument import signature_called

    with make_executor(options, track=False, adapter=adapter) as executor:
        signature = signature_called(executor, name)
        given = gather_inputs(inputs, source, executor.signature(signature).spec.media_inputs)
        executor.check_inputs(signature, given)
        request = executor.render(signature, given)
        count = executor.count_tokens(request)
    messages = [(message.role, _texts(message.parts)) for message in request.messages]
    if request.system:
        system = [request.system] if isinstance(request.system, str) else _texts(request.system)
        messages.insert(0, ("system", system))
    if as_json:
        print_json(
            {
                "model": request.model,
                "messages": [{"role": role, "content": "".join(texts)} for role, texts in messages],
                "options": _options(request.config),
                "tokens": count.tokens,
                "tokens_are_exact": count.exact,
            }
        )
        return
    for role, texts in messages:
        print_styled(f"[{role}]", "bold")
        click.echo("".join(texts) + "\n")
    print_styled(f"{request.model}  {count}", "dim", err=True)


def _texts(parts: Any) -> list[str]:
    """Return the texts of a message; of a picture or file, its kind in brackets."""
    return [text if isinstance(text := getattr(part, "text", None), str) else f"\n[{part.type}]\n" for part in parts]


def _options(config: Any) -> dict[str, Any]:
    """Return the options of the request that are set, such as ``temperature``."""
    found = {name: getattr(config, name) for name in config.__dataclass_fields__}
    return {name: jsonable(value) for name, value in found.items() if value not in (None, (), {}, "")}
