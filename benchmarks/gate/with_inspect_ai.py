"""The gate of examples/evaluation-gate with inspect_ai: with_inspect_ai.py MODEL DATA BASELINE REPORT."""

import json
import sys
from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.scorer import match
from inspect_ai.solver import generate, system_message
from scipy.stats import binomtest

model, data, baseline, report_file = sys.argv[1:]
task = Task(
    name="tickets",
    dataset=json_dataset(data, FieldSpec(input="ticket", target="team", id="ticket")),
    solver=[
        system_message("Choose the team that answers the ticket: billing or product. Answer with that word only."),
        generate(),
    ],
    scorer=match(location="exact"),
)
(log,) = eval(task, model=model)
if log.status != "success" or log.results is None:
    sys.exit(3)
right = {str(sample.id): sample.scores["match"].value == "C" for sample in log.samples or [] if sample.scores}
Path(report_file).write_text(json.dumps(right))
before = json.loads(Path(baseline).read_text())
pairs = [(before[name], after) for name, after in right.items() if name in before]
wins, losses = pairs.count((False, True)), pairs.count((True, False))
low_score = sum(right.values()) / len(right) < 0.9
worse = losses > wins and binomtest(losses, wins + losses).pvalue <= 0.05
sys.exit(4 if low_score or worse else 0)
