"""``hokusai mcp``: serve signatures and chains as tools of the Model Context Protocol."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse

if TYPE_CHECKING:
    from hokusai_mcp.tool_server import ToolServer

__all__ = ["mcp"]

_TOKEN: Final = "HOKUSAI_MCP_TOKEN"  # noqa: S105  # the name of a variable
#: Seconds. An embedded model on a small machine may take minutes over a long text.
_TIMEOUT: Final = 300


@click.command()
@click.option("--include", multiple=True, metavar="NAME", help="Only these signatures; * stands for anything.")
@click.option("--exclude", multiple=True, metavar="NAME", help="Leave these signatures out.")
@click.option("--chain", "chain_files", multiple=True, metavar="FILE", help="Offer the chain in this file, too.")
@click.option("--lm", metavar="NAME", help="Language model: local, or a name such as openai/gpt-5-mini.")
@click.option(
    "--mode", type=click.Choice(["production", "testing"]), help="testing answers with samples, without a model."
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds of a call. [default: 300]")
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=16, show_default=True, help="Calls that run at once."
)
@click.option(
    "--max-cost", type=click.FloatRange(min=0, min_open=True), metavar="DOLLARS", help="Spend at most so much."
)
@click.option("--http", is_flag=True, help="Serve over HTTP, in place of standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on, with --http.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8322, show_default=True, help="Port; 0 for a free one.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help=f"File with tokens, one a line, any of which will do; left out, {_TOKEN}.",
)
@click.option(
    "--allowed-host", "allowed_hosts", multiple=True, metavar="NAME", help="Host name that requests may have."
)
@click.option(
    "--allowed-origin", "allowed_origins", multiple=True, metavar="ORIGIN", help="Web pages that may connect."
)
def mcp(
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    chain_files: tuple[str, ...],
    concurrency: int,
    http: bool,
    host: str,
    port: int,
    token_file: Path | None,
    allowed_hosts: tuple[str, ...],
    allowed_origins: tuple[str, ...],
    **settings: Any,
) -> None:
    """Serve signatures and chains as tools, over standard input and output or over HTTP.

    \b
    hokusai mcp --lm openai/gpt-5-mini --include "Email*"
    hokusai mcp --http --port 8322
    """
    import anyio

    from hokusai_core import Executor, SignatureChain
    from hokusai_core.errors import HokusaiError
    from hokusai_mcp.tool_server import ToolServer

    options = {name: value for name, value in settings.items() if value is not None}
    if "HOKUSAI_TIMEOUT" not in os.environ:
        options.setdefault("timeout", _TIMEOUT)
    tokens = _read_tokens(token_file) if http else []
    try:
        with Executor(**options) as executor:
            tools = ToolServer(
                executor,
                include=include,
                exclude=exclude,
                chains=[SignatureChain.from_file(file) for file in chain_files],
                concurrency=concurrency,
            )
            if http:
                _serve_http(tools, host, port, tokens, allowed_hosts, allowed_origins)
            else:
                anyio.run(tools.run_stdio)
    except HokusaiError as error:
        raise CommandFailure(str(error)) from error


def _serve_http(
    tools: ToolServer,
    host: str,
    port: int,
    tokens: list[str],
    allowed_hosts: tuple[str, ...],
    allowed_origins: tuple[str, ...],
) -> None:
    import uvicorn

    from hokusai_core.errors import ConfigurationError
    from hokusai_mcp.http_transport import http_app, listen

    try:
        app = http_app(tools, host=host, tokens=tokens, allowed_hosts=allowed_hosts, allowed_origins=allowed_origins)
    except ConfigurationError as error:
        raise CommandMisuse(f"--host {host}: {error}; --token-file or {_TOKEN} gives tokens") from error
    try:
        listener = listen(host, port)
    except OSError as error:
        raise CommandFailure(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}/mcp"
    click.echo(f"hokusai: {len(tools.tools)} tools on {address} (Ctrl-C ends it)", err=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])


def _read_tokens(file: Path | None) -> list[str]:
    """Return the tokens of a file, or else that of the environment."""
    if file is None:
        variable = os.environ.get(_TOKEN, "").strip()
        return [variable] if variable else []
    try:
        tokens = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailure(f"--token-file {file} cannot be read: {error}") from error
    if not tokens:
        raise CommandFailure(f"--token-file {file} holds no token")
    return tokens
