"""``hokusai models``."""

from __future__ import annotations

from typing import Any

import click
from attrs import asdict

from hokusai_core.cli_support.installed import installed
from hokusai_core.cli_support.model_list import ListedModel, known_models, own_models
from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json, print_table

__all__ = ["models"]


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--all", "everything", is_flag=True, help="Also models of providers whose key is not set.")
@json_option
@click.pass_context
def models(ctx: click.Context, words: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """List language models: name, provider, context, price for a million tokens, key, default.

    Without WORD these are the models of plugins and settings, and those of providers whose key is set. With WORD they
    are all known models whose names have each WORD in them. Prices are those that DSPy knows; what a provider serves
    and charges today, it says itself.

    \b
    hokusai models
    hokusai models gpt mini
    """
    own = own_models(installed(ctx))
    names = {one.name for one in own}
    others = [one for one in known_models() if one.name not in names]
    shown = own + [one for one in others if words or everything or one.has_key]
    shown = [one for one in shown if all(word.lower() in one.name.lower() for word in words)]
    if as_json:
        print_json({"models": [_record(one) for one in shown]})
        return
    if not shown:
        click.echo(f"hokusai: no known model has {' and '.join(map(repr, words))} in its name", err=True)
        return
    columns = ("name", "provider", "context", "input", "output", "key", "")
    print_table(columns, [_row(one) for one in shown])
    if not words and not everything:
        left = len(others) + len(own) - len(shown)
        click.echo(f"hokusai: {left:,} more are known: hokusai models WORD, or --all", err=True)


def _row(one: ListedModel) -> tuple[str, ...]:
    notes = ["default"] * one.default + [f"is {one.stands_for}"] * bool(one.stands_for)
    return (
        one.name,
        one.provider or "-",
        "-" if one.context is None else f"{one.context:,}",
        _dollars(one.input_price),
        _dollars(one.output_price),
        _key(one),
        ", ".join(notes),
    )


def _key(one: ListedModel) -> str:
    if one.key is None:
        return "-"
    return "not needed" if not one.key else f"{one.key} is set" if one.has_key else f"{one.key} is missing"


def _dollars(price: float | None) -> str:
    if price is None:
        return "-"
    return "free" if price == 0 else f"${price:g}"


def _record(one: ListedModel) -> dict[str, Any]:
    return {**asdict(one), "has_key": one.has_key}
