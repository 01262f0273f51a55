"""``hokusai completion``."""

from __future__ import annotations

import click

from hokusai.shell_completion import SHELLS

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands, options, signatures, fields, models, metrics and files.

    \b
    bash: echo 'eval "$(hokusai completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(hokusai completion zsh)"' >> ~/.zshrc
    fish: hokusai completion fish > ~/.config/fish/completions/hokusai.fish
    """
    click.echo(SHELLS[shell](ctx.find_root().command, {}, "hokusai", "_HOKUSAI_COMPLETE").source(), nl=False)
