"""Makes the prompts of signatures versions in MLflow's prompt registry, and links traces and runs to them.

A version is made only where there is none of the same key. Doing it again changes nothing, because a delivery may be
cut off halfway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from mlflow import MlflowClient
from mlflow.entities.model_registry import PromptVersion
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY, PROMPT_EXPERIMENT_IDS_TAG_KEY
from mlflow.prompt.registry_utils import is_prompt_supported_registry
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import TraceTagKey
from mlflow.tracing.utils.prompt import update_linked_prompts_tag

from hokusai_mlflow.delivery.mlflow_runs import Target, quoted
from hokusai_mlflow.optimization_result import parameters_of, scores_of

__all__ = ["PromptLink", "PromptVersions", "prompt_name"]

_KEY_TAG: Final = "hokusai.prompt"
#: Answers of a server, or of MLflow's client, that say there are no prompts to be had.
_UNSUPPORTED: Final = ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "FEATURE_DISABLED", "PERMISSION_DENIED")
_FORBIDDEN: Final = (401, 403)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]")
#: Characters of a version's template that MLflow's database keeps.
_LONGEST: Final = 100_000


@frozen
class PromptLink:
    """A version of a prompt.

    Args:
        name: its name in the registry.
        version: its number.
    """

    name: str
    version: int

    @property
    def entity(self) -> PromptVersion:
        """It as MLflow names it where something is linked to it."""
        return PromptVersion(self.name, self.version, template="")


def prompt_name(signature: str) -> str:
    """Return the name of a signature's prompt: ``pack.Name``, as MLflow takes no slash.

    Example:
        >>> prompt_name("signatures/EmailDraft")
        'signatures.EmailDraft'
    """
    return _UNFIT.sub("_", signature.replace("/", "."))


class PromptVersions:
    """The prompts that a writer has made or found so far.

    Args:
        note: called with the reason why a store takes no prompts, once for a store.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        #: Address of a store and key of a prompt -> its version; None where there is none.
        self._known: dict[tuple[str, str], PromptLink | None] = {}
        #: Addresses of stores that take no prompts, and of those that link none to traces.
        self._without: set[str] = set()
        self._unlinked: set[str] = set()
        self._linked_runs: set[tuple[str, PromptLink]] = set()

    def register(self, target: Target, record: Mapping[str, Any]) -> None:
        """Make a prompt a version in the registry, where there is none of its key, and link the run to it.

        A store that takes no prompts is noted, and not asked again.

        Args:
            target: the run that the executions go to.
            record: what the outbox holds of the prompt.

        Raises:
            MlflowException: the store cannot be reached, or it does not accept this prompt.
            ValueError: it is longer than MLflow keeps.
        """
        if target.uri in self._without:
            return
        if not is_prompt_supported_registry(target.client._registry_uri):
            self._do_without(target, "its model registry has none")
            return
        try:
            link = self.find(target, record["id"], record["name"]) or self._create(target, record)
            self._add_figures(target.client, link, record.get("fig") or {})
            self._link_run(target, link)
        except NotImplementedError:
            self._do_without(target, "it has none")
        except MlflowException as error:
            if error.error_code not in _UNSUPPORTED and error.get_http_status_code() not in _FORBIDDEN:
                raise
            self._do_without(target, error.error_code)

    def find(self, target: Target, key: str, name: str) -> PromptLink | None:
        """Return the version of a prompt; None where there is none.

        Args:
            target: a run of the store.
            key: key of the prompt.
            name: name of its signature.
        """
        if target.uri in self._without:
            return None
        known = (target.uri, key)
        if known not in self._known:
            found = target.client.search_model_versions(
                f"name = '{quoted(prompt_name(name))}' AND tags.`{_KEY_TAG}` = '{quoted(key)}' "
                f"AND tags.`{IS_PROMPT_TAG_KEY}` = 'true'"
            )
            if not found:
                return None  # not remembered: it may be on its way
            # The first one, where two writers have made it at the same time.
            self._known[known] = PromptLink(found[0].name, min(int(version.version) for version in found))
        return self._known[known]

    def link_traces(self, target: Target, links: Sequence[tuple[str, PromptLink, bool]]) -> None:
        """Link traces to versions, as MLflow does: by an association that searches use, and by a tag.

        Args:
            target: a run of the store.
            links: id of the trace, the version, and whether the trace has the tag already.
        """
        client = TracingClient(target.uri)
        for trace_id, link, tagged in links:
            if target.uri not in self._unlinked:
                try:
                    client.store.link_prompts_to_trace(trace_id, [link.entity])
                except (NotImplementedError, MlflowException) as error:
                    if isinstance(error, MlflowException) and error.error_code not in _UNSUPPORTED:
                        raise
                    self._unlinked.add(target.uri)  # an older server; there is the tag
            if not tagged:
                before = client.get_trace_info(trace_id).tags.get(TraceTagKey.LINKED_PROMPTS)
                after = update_linked_prompts_tag(before, [link.entity])
                if after != before:
                    client.set_trace_tag(trace_id, TraceTagKey.LINKED_PROMPTS, after)

    @staticmethod
    def tag_of(link: PromptLink) -> dict[str, str]:
        """Return the tag of a trace that is linked to a version from the beginning."""
        return {TraceTagKey.LINKED_PROMPTS: update_linked_prompts_tag(None, [link.entity])}

    def _create(self, target: Target, record: Mapping[str, Any]) -> PromptLink:
        client, name = target.client, prompt_name(record["name"])
        template = list(record["msg"])
        if len(json.dumps(template)) > _LONGEST:
            raise ValueError(f"it is longer than the {_LONGEST} characters that MLflow keeps")
        self._make_prompt(target, name, record["name"])
        tags = {
            _KEY_TAG: record["id"],
            "hokusai.signature": record["name"],
            "hokusai.version": record["ver"],
            "hokusai.fingerprint": record["fp"],
            "hokusai.adapter": record["ad"],
            "hokusai.demos": str(record["n"]),
        }
        said = f"{record['name']} {record['ver']}" + (", optimized" if record.get("fig") else "")
        made = client.create_prompt_version(name, template, description=said, tags=tags)
        link = self._known[target.uri, record["id"]] = PromptLink(name, int(made.version))
        return link

    @staticmethod
    def _make_prompt(target: Target, name: str, signature: str) -> None:
        """Make the prompt where there is none, and have the page of the experiment list it."""
        client, experiment = target.client, target.experiment_id
        found = client.get_prompt(name)
        if found is None:
            tags = {"hokusai.signature": signature, PROMPT_EXPERIMENT_IDS_TAG_KEY: f",{experiment},"}
            try:
                client.create_prompt(name, tags=tags)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            return
        listed = [one for one in found.tags.get(PROMPT_EXPERIMENT_IDS_TAG_KEY, "").split(",") if one]
        if experiment not in listed:
            client.set_prompt_tag(name, PROMPT_EXPERIMENT_IDS_TAG_KEY, f",{','.join([*listed, experiment])},")

    @staticmethod
    def _add_figures(client: MlflowClient, link: PromptLink, figures: Mapping[str, Any]) -> None:
        """Add the scores of an optimization as tags, which are not there where the prompt was used before."""
        if not figures:
            return
        found: dict[str, Any] = {name: value for name, value in scores_of(figures).items() if value is not None}
        found |= parameters_of(figures)
        if "promoted" in figures:
            found["promoted"] = str(figures["promoted"]).lower()
        present = client.get_prompt_version(link.name, link.version).tags
        for name, value in found.items():
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            if present.get(f"hokusai.{name}") != text:
                client.set_prompt_version_tag(link.name, link.version, f"hokusai.{name}", text)

    def _link_run(self, target: Target, link: PromptLink) -> None:
        if (target.run_id, link) in self._linked_runs:
            return
        before = target.client.get_run(target.run_id).data.tags.get(TraceTagKey.LINKED_PROMPTS)
        after = update_linked_prompts_tag(before, [link.entity])
        if after != before:
            target.client.set_tag(target.run_id, TraceTagKey.LINKED_PROMPTS, after)
        self._linked_runs.add((target.run_id, link))

    def _do_without(self, target: Target, reason: str) -> None:
        self._without.add(target.uri)
        self._note(reason)
