"""Tests of the command: the suite that every command passes."""

from __future__ import annotations

import json

from click.testing import CliRunner
from hokusai_core.testing.commands import CommandConformance

from acme_sample.command import command


class TestAcmeSample(CommandConformance):
    target = "acme_sample.command:command"


def test_it_prints_json() -> None:
    done = CliRunner().invoke(command, ["--json"])
    assert done.exit_code == 0, done.output
    assert isinstance(json.loads(done.output)["signatures"], list)
