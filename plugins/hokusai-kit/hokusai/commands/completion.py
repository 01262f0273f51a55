"""``hokusai completion``."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

__all__ = ["completion"]

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
#: ``FIELD=`` and ``folder/`` are not the end of a word, but bash puts a blank behind them.
_BASH_END = "\n    return 0\n"
_NO_BLANK = "\n    [[ ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace\n    return 0\n"


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands, options, signatures, fields, models, metrics and files.

    \b
    bash: echo 'eval "$(hokusai completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(hokusai completion zsh)"' >> ~/.zshrc
    fish: hokusai completion fish > ~/.config/fish/completions/hokusai.fish
    """
    script = _SHELLS[shell](ctx.find_root().command, {}, "hokusai", "_HOKUSAI_COMPLETE").source()
    click.echo(script.replace(_BASH_END, _NO_BLANK) if shell == "bash" else script)
