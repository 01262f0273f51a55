"""The command asks a server by its address."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hokusai_core.testing.chat_server import ChatServer

ANSWER = "[[ ## summary ## ]]\nSales up, costs down.\n\n[[ ## completed ## ]]"


@pytest.mark.parametrize("by", ["--lm", "HOKUSAI_LM"])
def test_run_takes_the_address_of_a_server(by: str, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("Sales rose by 3 %. Costs fell.")
    with ChatServer(ANSWER, keep_requests=True) as server:
        name = f"{server.base_url}#llama"
        chosen, environment = (["--lm", name], {}) if by == "--lm" else ([], {"HOKUSAI_LM": name})
        command = [sys.executable, "-m", "hokusai", "run", "SummarizeText", "-i", f"document=@{report}", *chosen]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HOME": str(tmp_path), **environment},
        )
        assert (done.returncode, done.stdout.strip()) == (0, "Sales up, costs down."), done.stderr
        assert len(server.received) == 1
