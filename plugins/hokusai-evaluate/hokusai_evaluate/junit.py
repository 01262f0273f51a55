"""The gates of an evaluation as JUnit XML, which CI systems show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from hokusai_core.cli_support.tables import printable
from hokusai_evaluate.evaluation_figures import GateResult
from hokusai_evaluate.evaluation_report import Evaluation
from hokusai_evaluate.replay_report import Replay

__all__ = ["junit_xml", "replay_junit_xml"]


def junit_xml(evaluation: Evaluation, gates: Sequence[GateResult]) -> bytes:
    """Return a test suite with a test case for each gate and system.

    Args:
        evaluation: the evaluation, whose table is the output of the suite.
        gates: what ``evaluation.check`` returned.
    """
    facts = {
        f"{system.label}: {metric}": str(score.value)
        for system in evaluation.systems
        for metric, score in system.scores.items()
    }
    facts["digest"] = evaluation.digest
    cases = [(evaluation.target, gate) for gate in gates]
    return _suite(f"hokusai evaluate {evaluation.target}", cases, facts, evaluation.seconds, str(evaluation))


def replay_junit_xml(replay: Replay, gates: Sequence[GateResult]) -> bytes:
    """Return a test suite with a test case for each gate and signature.

    Args:
        replay: the replay, whose table is the output of the suite.
        gates: what ``replay.check`` returned.
    """
    found = [(part.signature, one) for part in replay.signatures for one in part.evaluations]
    facts = {f"{name}: digest": one.digest for name, one in found}
    cases = [(gate.label.partition(" ")[0], gate) for gate in gates]
    return _suite(f"hokusai replay on {replay.model}", cases, facts, sum(one.seconds for _, one in found), str(replay))


def _suite(
    name: str, cases: Sequence[tuple[str, GateResult]], facts: Mapping[str, str], seconds: float, text: str
) -> bytes:
    failed = sum(not gate.passed for _, gate in cases)
    counts = {"tests": str(len(cases)), "failures": str(failed), "errors": "0", "time": f"{seconds:.3f}"}
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": name, **counts})
    properties = ET.SubElement(suite, "properties")
    for fact, value in facts.items():
        ET.SubElement(properties, "property", {"name": fact, "value": value})
    for owner, gate in cases:
        case = ET.SubElement(suite, "testcase", {"classname": owner, "name": f"{gate.label}: {gate.name}"})
        if not gate.passed:
            ET.SubElement(case, "failure", {"message": printable(gate.message)}).text = printable(gate.message)
        elif not gate.decided:
            ET.SubElement(case, "system-out").text = f"undecided: {printable(gate.message)}"
    ET.SubElement(suite, "system-out").text = text
    ET.indent(suites)
    document = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{document}\n'.encode("utf-8", "replace")
