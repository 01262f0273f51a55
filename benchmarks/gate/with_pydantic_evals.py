"""The gate of examples/evaluation-gate with pydantic-evals: with_pydantic_evals.py MODEL DATA BASELINE REPORT."""

import json
import sys
from pathlib import Path
from typing import Literal

from pydantic_ai import Agent
from pydantic_evals import Case, Dataset
from pydantic_evals.evaluators import EqualsExpected
from scipy.stats import binomtest

model, data, baseline, report_file = sys.argv[1:]
agent = Agent(model, output_type=Literal["billing", "product"], instructions="Choose the team that answers the ticket.")


async def route(ticket: str) -> str:
    return str((await agent.run(ticket)).output)


rows = [json.loads(line) for line in Path(data).read_text().splitlines()]
dataset = Dataset(
    name="tickets",
    cases=[Case(name=row["ticket"], inputs=row["ticket"], expected_output=row["team"]) for row in rows],
    evaluators=[EqualsExpected()],
)
report = dataset.evaluate_sync(route)
report.print()
if report.failures:
    sys.exit(3)
right = {case.name: case.assertions["EqualsExpected"].value for case in report.cases}
Path(report_file).write_text(json.dumps(right))
before = json.loads(Path(baseline).read_text())
pairs = [(before[name], after) for name, after in right.items() if name in before]
wins, losses = pairs.count((False, True)), pairs.count((True, False))
low_score = sum(right.values()) / len(right) < 0.9
worse = losses > wins and binomtest(losses, wins + losses).pvalue <= 0.05
sys.exit(4 if low_score or worse else 0)
