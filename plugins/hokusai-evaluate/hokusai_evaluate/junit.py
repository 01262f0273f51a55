"""The gates of an evaluation as JUnit XML, which CI systems show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from hokusai_core.cli_support.tables import printable
from hokusai_evaluate.evaluation_figures import GateResult
from hokusai_evaluate.evaluation_report import Evaluation

__all__ = ["junit_xml"]


def junit_xml(evaluation: Evaluation, gates: Sequence[GateResult]) -> bytes:
    """Return a test suite with a test case for each gate and system.

    Args:
        evaluation: the evaluation, whose table is the output of the suite.
        gates: what ``evaluation.check`` returned.
    """
    failed = sum(not gate.passed for gate in gates)
    name = f"hokusai evaluate {evaluation.target}"
    counts = {"tests": str(len(gates)), "failures": str(failed), "errors": "0", "time": f"{evaluation.seconds:.3f}"}
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": name, **counts})
    properties = ET.SubElement(suite, "properties")
    for system in evaluation.systems:
        for metric, score in system.scores.items():
            ET.SubElement(properties, "property", {"name": f"{system.label}: {metric}", "value": str(score.value)})
    ET.SubElement(properties, "property", {"name": "digest", "value": evaluation.digest})
    for gate in gates:
        case = ET.SubElement(suite, "testcase", {"classname": evaluation.target, "name": f"{gate.label}: {gate.name}"})
        if not gate.passed:
            ET.SubElement(case, "failure", {"message": printable(gate.message)}).text = printable(gate.message)
        elif not gate.decided:
            ET.SubElement(case, "system-out").text = f"undecided: {printable(gate.message)}"
    ET.SubElement(suite, "system-out").text = str(evaluation)
    ET.indent(suites)
    text = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode("utf-8", "replace")
