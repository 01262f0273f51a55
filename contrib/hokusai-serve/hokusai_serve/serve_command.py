"""``hokusai serve``."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any, Final

import click

from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse

__all__ = ["serve"]

#: Seconds of an execution, and what stands for no bound.
_TIMEOUT, _NO_TIMEOUT = 120.0, 86_400.0
_TOKEN: Final = "HOKUSAI_SERVE_TOKEN"  # noqa: S105  # the name of a variable


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8321, show_default=True, help="Port; 0 for a free one.")
@click.option(
    "--token", metavar="TEXT", help=f"Token that requests need; {_TOKEN} keeps it out of the list of processes."
)
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="File with tokens, one a line, any of which will do."
)
@click.option("--lm", metavar="NAME", help="Language model: local, or a name such as openai/gpt-5-mini.")
@click.option(
    "--mode", type=click.Choice(["production", "testing"]), help="testing answers with samples, without a model."
)
@click.option("--include", multiple=True, metavar="NAME", help="Only these signatures; * stands for anything.")
@click.option(
    "--allowed-host", "allowed_hosts", multiple=True, metavar="NAME", help="Host name that requests may have."
)
@click.option(
    "--data-folder", type=click.Path(path_type=Path), help="Folder for batches. [default: in the user's folder]"
)
@click.option(
    "--reports", type=click.Path(path_type=Path), help="Folder with reports and optimized signatures to show."
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds of an execution. [default: 120]")
@click.option("--max-body", type=click.IntRange(min=1), metavar="BYTES", help="Size of a request. [default: 32 MB]")
@click.option("--max-rows", type=click.IntRange(min=1), metavar="COUNT", help="Rows of a batch. [default: 10000]")
@click.option(
    "--max-concurrency", type=click.IntRange(min=1), metavar="COUNT", help="Executions at once. [default: 1000]"
)
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="COUNT", help="Tokens of a prompt. [default: 100000]")
@click.option(
    "--max-cost", type=click.FloatRange(min=0, min_open=True), metavar="DOLLARS", help="Spend at most so much."
)
@click.option("--budget-file", type=click.Path(), metavar="FILE", help="Where what was spent is kept, for --max-cost.")
@click.option("--unpriced", type=click.Choice(["refuse", "allow"]), help="What --max-cost does with unknown prices.")
@click.option("--workers", type=click.IntRange(min=1), help="Rows of a batch that run at once.")
@click.option(
    "--drain", type=click.FloatRange(min=0, min_open=True), help="Seconds for requests at the end. [default: 30]"
)
@click.option("--sensitive", is_flag=True, help="Keep values of sensitive fields in the results of batches.")
def serve(
    host: str,
    port: int,
    token: str | None,
    token_file: Path | None,
    include: tuple[str, ...],
    allowed_hosts: tuple[str, ...],
    data_folder: Path | None,
    reports: Path | None,
    timeout: float | None,
    max_body: int | None,
    max_rows: int | None,
    max_concurrency: int | None,
    max_tokens: int | None,
    drain: float | None,
    sensitive: bool,
    **settings: Any,
) -> None:
    """Serve signatures over HTTP, with a page for people at /.

    Without a token the server listens on this machine only. Ctrl-C or SIGTERM ends it when the requests in flight are
    over.

    \b
    hokusai serve --lm local
    hokusai serve --host 0.0.0.0 --token-file tokens.txt --include "Email*" --max-cost 20
    """
    tokens = _tokens(token, token_file)
    if not tokens and not _is_loopback(host):
        raise CommandMisuse(
            f"--host {host} can be reached from other machines, so requests need a token: give --token-file, or set "
            f"{_TOKEN}"
        )
    from hokusai_core import Executor
    from hokusai_core.plugin_api import user_data_folder
    from hokusai_serve.app import create_app
    from hokusai_serve.http_server import listen, make_server
    from hokusai_serve.limits import ServeLimits

    bounds: dict[str, Any] = {
        "body_bytes": max_body,
        "rows": max_rows,
        "concurrency": max_concurrency,
        "prompt_tokens": max_tokens,
        "drain_seconds": drain,
    }
    names = {"workers": "max_workers"}
    options = {names.get(name, name): value for name, value in settings.items() if value is not None}
    if timeout is not None or "HOKUSAI_TIMEOUT" not in os.environ:
        options["timeout"] = timeout or _TIMEOUT
    with Executor(**options) as executor:
        bounds["timeout"] = executor.config.value("timeout") or _NO_TIMEOUT
        limits = ServeLimits(**{name: value for name, value in bounds.items() if value is not None})
        app = create_app(
            executor,
            token=tokens,
            include=include,
            allowed_hosts=_hosts(allowed_hosts, host, tokens),
            limits=limits,
            data_folder=data_folder or user_data_folder("serve"),
            reports=reports,
            sensitive=sensitive,
        )
        try:
            listener = listen(host, port)
        except OSError as error:
            raise CommandFailure(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
        make_server(app, limits, _say).run(sockets=[listener])


def _say(address: str) -> None:
    click.echo(f"hokusai: serving on {address} (Ctrl-C ends it)", err=True)


def _tokens(token: str | None, file: Path | None) -> list[str]:
    """Return the tokens that are given, or else that of the environment."""
    given = [] if token is None else [token]
    if file is not None:
        try:
            given += [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise CommandFailure(f"--token-file {file} cannot be read: {error}") from error
        if not given:
            raise CommandFailure(f"--token-file {file} holds no token")
    variable = os.environ.get(_TOKEN, "").strip()
    return given or ([variable] if variable else [])


def _hosts(allowed: tuple[str, ...], host: str, tokens: list[str]) -> list[str] | None:
    """Return the host names that requests may have; None for any."""
    if allowed:
        return [*allowed]
    if tokens:
        return None
    from hokusai_serve.access import LOOPBACK_HOSTS

    return [*LOOPBACK_HOSTS, host]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
