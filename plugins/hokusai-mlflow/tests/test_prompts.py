"""The prompts of signatures as versions in MLflow's prompt registry, read back through MLflow's own client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from hokusai_core import BaseSignature, Executor, InputField, OutputField, SignatureChain
from hokusai_core.plugin_api import Artifact
from hokusai_core.testing.lm import null_lm
from hokusai_core.testing.trackers import make_optimization
from hokusai_mlflow.delivery import mlflow_prompts
from hokusai_mlflow.spool_status import read_status

NAME = "local.Greet"


class Greet(BaseSignature):
    """Greet a person."""

    name: str = InputField(description="who is greeted")
    tags: list[str] = InputField(description="what is known of them")
    greeting: str = OutputField(description="the greeting")


class Secret(Greet):
    """Greet a person."""

    name: str = InputField(description="who is greeted", sensitive=True)


DEMO = {"name": "Zelda", "tags": ["old"], "greeting": "Dear Zelda"}
INPUTS = {"name": "Ada", "tags": ["kind", "busy"]}


def executor_of(place: Any, *signatures: Any, **options: Any) -> Executor:
    """Return an executor that tracks, with signatures of the host's own."""
    made = Executor(
        lm=null_lm(answers={"greeting": "Hello"}),
        plugins=[],
        cache_enabled=False,
        trackers={"mlflow": place.tracker(**options)},
    )
    for signature in signatures or (Greet,):
        made.register_signature(getattr(signature, "name", None) or signature.__name__, signature)
    return made


def versions(place: Any, name: str = NAME) -> list[Any]:
    """Return the versions of a prompt, the first one first."""
    return sorted(place.client.search_prompt_versions(name), key=lambda one: int(one.version))


def linked(place: Any) -> list[Any]:
    """Return what the traces of a place are linked to, in the order of the executions."""
    traces = sorted(place.traces(), key=lambda trace: trace.info.request_time)
    return [json.loads(trace.info.tags.get("mlflow.linkedPrompts", "[]")) for trace in traces]


def test_a_prompt_is_a_version_that_gives_what_was_sent(place: Any) -> None:
    with executor_of(place) as executor:
        result = executor.execute_signature("Greet", INPUTS)
        sent = executor.render("Greet", INPUTS)
    assert place.deliver()
    (version,) = versions(place)
    assert version.variables == {"name", "tags"}
    filled = place.client.load_prompt(f"prompts:/{NAME}/1").format(name="Ada", tags='["kind", "busy"]')
    assert filled[-1] == {"role": "user", "content": sent.messages[-1].text}
    assert filled[0]["content"] == sent.system
    assert version.tags["hokusai.fingerprint"] == result.fingerprint
    (trace,) = place.traces()
    assert linked(place) == [[{"name": NAME, "version": "1"}]]
    assert trace.data.spans[0].attributes["prompt"] == f"prompts:/{NAME}/1"
    where = [trace.info.experiment_id]
    found = place.client.search_traces(locations=where, filter_string=f"prompt = '{NAME}/1'")
    assert [one.info.trace_id for one in found] == [trace.info.trace_id]
    assert [one.name for one in place.client.search_prompts(f"experiment_id = '{where[0]}'")] == [NAME]
    (run,) = place.runs()
    assert json.loads(run.data.tags["mlflow.linkedPrompts"]) == [{"name": NAME, "version": "1"}]


def test_only_another_prompt_is_another_version(place: Any) -> None:
    warm = Greet.spec.evolve(instructions="Greet a person warmly.", demos=(DEMO,))
    for spec in (Greet, BaseSignature.from_spec(warm), Greet):  # each in a process of its own
        with executor_of(place) as executor:
            executor.register_signature("Greet", spec, replace=True)
            executor.execute_signature("Greet", INPUTS)
        assert place.deliver()
    first, second = versions(place)
    assert second.tags["hokusai.demos"] == "1"
    assert "Dear Zelda" in second.template[2]["content"]
    assert "warmly" in second.template[0]["content"]
    assert [[one["version"] for one in links] for links in linked(place)] == [["1"], ["2"], ["1"]]
    assert first.tags["hokusai.fingerprint"] != second.tags["hokusai.fingerprint"]


def test_a_delivery_that_is_cut_off_makes_no_second_version(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with executor_of(place) as executor:
        executor.execute_signature("Greet", INPUTS)

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mlflow_prompts.PromptVersions, "_link_run", dies)
        with pytest.raises(KeyboardInterrupt):
            place.deliver()
    assert len(versions(place)) == 1
    assert place.deliver()
    assert len(versions(place)) == len(place.rows()) == len(place.traces()) == 1
    assert linked(place) == [[{"name": NAME, "version": "1"}]]


def test_demos_of_a_signature_with_sensitive_fields_are_left_out(place: Any) -> None:
    shown = BaseSignature.from_spec(Secret.spec.evolve(demos=(DEMO,)))
    with executor_of(place) as executor:
        executor.register_signature("Greet", shown, replace=True)
        executor.execute_signature("Greet", INPUTS)
    assert place.deliver()
    (version,) = versions(place)
    assert version.tags["hokusai.demos"] == "0"
    assert "Zelda" not in json.dumps(version.template)
    assert version.variables == {"name", "tags"}


def test_an_optimized_signature_with_sensitive_fields_has_no_version(place: Any) -> None:
    better = Secret.spec.evolve(instructions="Greet Zelda and others warmly.")
    artifact = Artifact(spec=better, base=Secret.spec, base_name="local/Greet", report={}, promoted=True)
    with executor_of(place) as executor:
        executor.register_signature("Greet", artifact.signature, replace=True)
        executor.execute_signature("Greet", INPUTS)
    assert place.deliver()
    assert place.client.search_prompts() == []
    assert linked(place) == [[]]


@pytest.mark.parametrize(
    "options",
    [{"content": "metadata"}, {"content": "inputs"}, {"redact": lambda kind, values: values}, {"prompts": False}],
)
def test_what_is_not_to_be_recorded_is_in_no_prompt(place: Any, options: dict[str, Any]) -> None:
    with executor_of(place, **options) as executor:
        executor.execute_signature("Greet", INPUTS)
    assert place.deliver()
    assert len(place.traces()) == 1
    assert place.client.search_prompts() == []


def test_a_chain_is_linked_to_the_prompts_of_its_steps(place: Any) -> None:
    with executor_of(place) as executor:
        executor.register_signature("Ask", "greeting -> answer")
        chain = (
            SignatureChain().add("Greet", {"name": "name", "tags": "tags"}).add("Ask", {"greeting": "Greet.greeting"})
        )
        executor.execute_chain(chain, INPUTS)
    assert place.deliver()
    (trace,) = place.traces()
    links = json.loads(trace.info.tags["mlflow.linkedPrompts"])
    assert {link["name"] for link in links} == {NAME, "local.Ask"}


def test_an_optimization_makes_a_version_with_its_scores(place: Any) -> None:
    report = {"optimizer": "copro", "baseline_score": 0.5, "candidate_score": 0.75, "interval": [0.1, 0.4]}
    better = Greet.spec.evolve(instructions="Greet warmly.", demos=(DEMO,))
    artifact = Artifact(spec=better, base=Greet.spec, base_name="local/Greet", report=report, promoted=True)
    with executor_of(place, registry_alias="champion") as executor:
        executor.optimization_finished(
            make_optimization(
                signature="local/Greet",
                promoted=True,
                document=artifact.to_dict(),
                prompt=executor.prompt_template(artifact.signature),
            )
        )
        executor.register_signature("Greet", artifact.signature, replace=True)
        executor.execute_signature("Greet", INPUTS)
    assert place.deliver()
    (version,) = versions(place)  # the promoted edition sends what was optimized
    assert place.client.get_prompt_version_by_alias(NAME, "champion").version == version.version
    tags = version.tags
    assert (tags["hokusai.baseline_score"], tags["hokusai.winner_score"], tags["hokusai.promoted"]) == (
        "0.5",
        "0.75",
        "true",
    )
    assert (tags["hokusai.interval_low"], tags["hokusai.optimizer"]) == ("0.1", "copro")
    (run,) = [run for run in place.runs() if "hokusai.optimization" in run.data.tags]
    assert tags["hokusai.optimization_run"] == run.info.run_id
    assert json.loads(run.data.tags["mlflow.linkedPrompts"]) == linked(place)[0] == [{"name": NAME, "version": "1"}]


def test_scores_reach_a_version_that_was_there_before(place: Any) -> None:
    artifact = Artifact(
        spec=Greet.spec, base=Greet.spec, base_name="local/Greet", report={"candidate_score": 0.75}, promoted=False
    )
    with executor_of(place) as executor:
        executor.execute_signature("Greet", INPUTS)
        assert place.deliver()
        executor.register_signature("Greet", artifact.signature, replace=True)
        executor.execute_signature("Greet", INPUTS)
    assert place.deliver()
    (version,) = versions(place)
    assert version.tags["hokusai.winner_score"] == "0.75"


@pytest.mark.parametrize(
    "refusal",
    [NotImplementedError(), MlflowException("no", error_code=PERMISSION_DENIED)],
)
def test_a_store_without_prompts_gets_the_rest_with_one_note(
    place: Any, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise refusal

    monkeypatch.setattr("mlflow.MlflowClient.get_prompt", refuses)
    with executor_of(place, Greet) as executor:
        executor.register_signature("Ask", "question -> answer")
        for name, inputs in (("Greet", INPUTS), ("Ask", {"question": "Why?"})):
            executor.execute_signature(name, inputs)
    assert place.deliver(), read_status(place.spool)
    assert len(place.traces()) == len(place.rows()) == 2
    (note,) = read_status(place.spool)["notes"]
    assert place.uri in note
    assert "keeps no prompts" in note
    assert "HOKUSAI_TRACKING_PROMPTS" in note
