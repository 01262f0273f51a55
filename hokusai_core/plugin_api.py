"""What plugin authors import: the hook contract, components and their protocols, events, and building blocks.

Names are imported when they are first used, so a plugin module pays only for those that it takes.

Example::

    from hokusai_core.plugin_api import Component, hookimpl

    @hookimpl
    def provide_trackers():
        return [Component(name="jsonl", target="my_plugin.tracker:JsonlTracker", summary="JSON lines")]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from hokusai_core.artifacts import Artifact, read_artifact
    from hokusai_core.base_signature import BaseSignature
    from hokusai_core.batch.worker import JobWorker, PreparedRequest
    from hokusai_core.batch_job import BatchJob, CallOffer, JobNotes, RowError, RowHost, RowOutcome, RowTask
    from hokusai_core.cache_entry import CacheEntry
    from hokusai_core.cache_lease import CacheLease
    from hokusai_core.caching import MemoryCache
    from hokusai_core.call_records import CallEstimate, CallRecord, CostBound
    from hokusai_core.components import Component, Owner
    from hokusai_core.dspy_bridge.error_map import translate_error
    from hokusai_core.dspy_bridge.metered_lm import MeteredLM
    from hokusai_core.dspy_bridge.model_info import call_parameters
    from hokusai_core.dspy_bridge.predictors import predictor_states, with_predictor_states
    from hokusai_core.dspy_bridge.remembering_lm import AnswerMemory, RememberingLM
    from hokusai_core.dspy_bridge.usage_cost import usage_cost
    from hokusai_core.events import (
        EvaluationFinished,
        ExecutionFinished,
        ExecutionStarted,
        FeedbackGiven,
        OperationFinished,
        OptimizationFinished,
        OutcomeRecorded,
        PromptTemplate,
        TrackedEvent,
    )
    from hokusai_core.execution.budget import Reservation
    from hokusai_core.execution.budget_file import BudgetFile
    from hokusai_core.execution.budget_ledger import BudgetFileError
    from hokusai_core.execution.charged_model import charged_model, check_cost_bound
    from hokusai_core.execution.edition_finder import EditionFinder, EditionWarning
    from hokusai_core.execution.signature_runner import SignatureRunner
    from hokusai_core.execution.strategy_resolver import ResolvedStrategy, StrategyResolver
    from hokusai_core.feedback import KeptExecution
    from hokusai_core.function_tool import FunctionTool
    from hokusai_core.hookspecs import COMPONENT_HOOKS, HokusaiSpecs
    from hokusai_core.install_command import install_command
    from hokusai_core.json_encoding import jsonable
    from hokusai_core.markers import HOOK_API, hookimpl
    from hokusai_core.media import MediaPolicy
    from hokusai_core.model import LanguageModel
    from hokusai_core.optimization import Candidate, OptimizationExample, OptimizationTask
    from hokusai_core.option_table import ComponentChoice
    from hokusai_core.plugins import PluginManager
    from hokusai_core.process import fork_callbacks, fork_gate, process_trackers
    from hokusai_core.protocols import (
        Backend,
        BatchSession,
        Cache,
        CacheLeases,
        CacheMaintenance,
        EditionSource,
        FeedbackStore,
        LanguageModelProvider,
        Metric,
        Optimizer,
        Strategy,
        Tool,
        Tracker,
        Validator,
    )
    from hokusai_core.redaction import REDACTED, scrub
    from hokusai_core.results import Problem, StageTiming, Usage
    from hokusai_core.runtime.async_twin import async_twin
    from hokusai_core.settings import Settings
    from hokusai_core.signature_registry import Edition, SignatureRegistry
    from hokusai_core.signatures import FieldSpec, InputField, OutputField, SignatureField, SignatureSpec
    from hokusai_core.signatures.branch_conditions import NamedObject, condition_holds
    from hokusai_core.signatures.json_schema import constraint_keywords, input_schema, output_schema
    from hokusai_core.signatures.predictor_state import PredictorState
    from hokusai_core.signatures.strategy_choice import StrategyChoice
    from hokusai_core.storage import (
        AppendLog,
        LogLine,
        UnsafeFileError,
        atomic_write,
        describe_os_error,
        executor_data_folder,
        file_lock,
        is_locked,
        lock_descriptor,
        make_missing_folders,
        open_private_file,
        parse_line,
        private_folder,
        read_log,
        scan_lines,
        secure_file,
        user_cache_folder,
        user_data_folder,
    )
    from hokusai_core.storage.durable_outbox import DurableOutbox
    from hokusai_core.storage.outbox import Outbox, OutboxDestination, OutboxFolder, OutboxPart
    from hokusai_core.strategy_task import Reward, StrategyTask
    from hokusai_core.suggestions import did_you_mean

__all__ = [
    "COMPONENT_HOOKS",
    "HOOK_API",
    "REDACTED",
    "AnswerMemory",
    "AppendLog",
    "Artifact",
    "Backend",
    "BaseSignature",
    "BatchJob",
    "BatchSession",
    "BudgetFile",
    "BudgetFileError",
    "Cache",
    "CacheEntry",
    "CacheLease",
    "CacheLeases",
    "CacheMaintenance",
    "CallEstimate",
    "CallOffer",
    "CallRecord",
    "Candidate",
    "Component",
    "ComponentChoice",
    "CostBound",
    "DurableOutbox",
    "Edition",
    "EditionFinder",
    "EditionSource",
    "EditionWarning",
    "EvaluationFinished",
    "ExecutionFinished",
    "ExecutionStarted",
    "FeedbackGiven",
    "FeedbackStore",
    "FieldSpec",
    "FunctionTool",
    "HokusaiSpecs",
    "InputField",
    "JobNotes",
    "JobWorker",
    "KeptExecution",
    "LanguageModel",
    "LanguageModelProvider",
    "LogLine",
    "MediaPolicy",
    "MemoryCache",
    "MeteredLM",
    "Metric",
    "NamedObject",
    "OperationFinished",
    "OptimizationExample",
    "OptimizationFinished",
    "OptimizationTask",
    "Optimizer",
    "Outbox",
    "OutboxDestination",
    "OutboxFolder",
    "OutboxPart",
    "OutcomeRecorded",
    "OutputField",
    "Owner",
    "PluginManager",
    "PredictorState",
    "PreparedRequest",
    "Problem",
    "PromptTemplate",
    "RememberingLM",
    "Reservation",
    "ResolvedStrategy",
    "Reward",
    "RowError",
    "RowHost",
    "RowOutcome",
    "RowTask",
    "Settings",
    "SignatureField",
    "SignatureRegistry",
    "SignatureRunner",
    "SignatureSpec",
    "StageTiming",
    "Strategy",
    "StrategyChoice",
    "StrategyResolver",
    "StrategyTask",
    "Tool",
    "TrackedEvent",
    "Tracker",
    "UnsafeFileError",
    "Usage",
    "Validator",
    "async_twin",
    "atomic_write",
    "call_parameters",
    "charged_model",
    "check_cost_bound",
    "condition_holds",
    "constraint_keywords",
    "describe_os_error",
    "did_you_mean",
    "executor_data_folder",
    "file_lock",
    "fork_callbacks",
    "fork_gate",
    "hookimpl",
    "input_schema",
    "install_command",
    "is_locked",
    "jsonable",
    "lazy_exports",
    "lock_descriptor",
    "make_missing_folders",
    "open_private_file",
    "output_schema",
    "parse_line",
    "predictor_states",
    "private_folder",
    "process_trackers",
    "read_artifact",
    "read_log",
    "scan_lines",
    "scrub",
    "secure_file",
    "translate_error",
    "usage_cost",
    "user_cache_folder",
    "user_data_folder",
    "with_predictor_states",
]

if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "hokusai_core.artifacts": (
                "Artifact",
                "read_artifact",
            ),
            "hokusai_core.cache_entry": ("CacheEntry",),
            "hokusai_core.cache_lease": ("CacheLease",),
            "hokusai_core.caching": ("MemoryCache",),
            "hokusai_core.install_command": ("install_command",),
            "hokusai_core.json_encoding": ("jsonable",),
            "hokusai_core.components": (
                "Component",
                "Owner",
            ),
            "hokusai_core.dspy_bridge.error_map": ("translate_error",),
            "hokusai_core.dspy_bridge.metered_lm": ("MeteredLM",),
            "hokusai_core.dspy_bridge.remembering_lm": ("AnswerMemory", "RememberingLM"),
            "hokusai_core.dspy_bridge.model_info": ("call_parameters",),
            "hokusai_core.dspy_bridge.predictors": ("predictor_states", "with_predictor_states"),
            "hokusai_core.dspy_bridge.usage_cost": ("usage_cost",),
            "hokusai_core.batch.worker": ("JobWorker", "PreparedRequest"),
            "hokusai_core.batch_job": (
                "BatchJob",
                "CallOffer",
                "JobNotes",
                "RowError",
                "RowHost",
                "RowOutcome",
                "RowTask",
            ),
            "hokusai_core.call_records": (
                "CallEstimate",
                "CallRecord",
                "CostBound",
            ),
            "hokusai_core.events": (
                "EvaluationFinished",
                "ExecutionFinished",
                "ExecutionStarted",
                "FeedbackGiven",
                "OperationFinished",
                "OptimizationFinished",
                "OutcomeRecorded",
                "PromptTemplate",
                "TrackedEvent",
            ),
            "hokusai_core.execution.budget": ("Reservation",),
            "hokusai_core.execution.budget_file": ("BudgetFile",),
            "hokusai_core.execution.budget_ledger": ("BudgetFileError",),
            "hokusai_core.execution.charged_model": ("charged_model", "check_cost_bound"),
            "hokusai_core.execution.signature_runner": ("SignatureRunner",),
            "hokusai_core.execution.strategy_resolver": ("ResolvedStrategy", "StrategyResolver"),
            "hokusai_core.feedback": ("KeptExecution",),
            "hokusai_core.function_tool": ("FunctionTool",),
            "hokusai_core.hookspecs": (
                "COMPONENT_HOOKS",
                "HokusaiSpecs",
            ),
            "hokusai_core.execution.edition_finder": (
                "EditionFinder",
                "EditionWarning",
            ),
            "hokusai_core.markers": (
                "HOOK_API",
                "hookimpl",
            ),
            "hokusai_core.media": ("MediaPolicy",),
            "hokusai_core.model": ("LanguageModel",),
            "hokusai_core.optimization": (
                "Candidate",
                "OptimizationExample",
                "OptimizationTask",
            ),
            "hokusai_core.option_table": ("ComponentChoice",),
            "hokusai_core.plugins": ("PluginManager",),
            "hokusai_core.process": ("fork_callbacks", "fork_gate", "process_trackers"),
            "hokusai_core.protocols": (
                "Backend",
                "BatchSession",
                "Cache",
                "CacheLeases",
                "CacheMaintenance",
                "EditionSource",
                "FeedbackStore",
                "LanguageModelProvider",
                "Metric",
                "Optimizer",
                "Strategy",
                "Tool",
                "Tracker",
                "Validator",
            ),
            "hokusai_core.redaction": ("REDACTED", "scrub"),
            "hokusai_core.results": (
                "Problem",
                "StageTiming",
                "Usage",
            ),
            "hokusai_core.runtime.async_twin": ("async_twin",),
            "hokusai_core.settings": ("Settings",),
            "hokusai_core.base_signature": ("BaseSignature",),
            "hokusai_core.signature_registry": (
                "Edition",
                "SignatureRegistry",
            ),
            "hokusai_core.signatures": (
                "FieldSpec",
                "InputField",
                "OutputField",
                "SignatureField",
                "SignatureSpec",
            ),
            "hokusai_core.signatures.branch_conditions": ("NamedObject", "condition_holds"),
            "hokusai_core.signatures.json_schema": ("constraint_keywords", "input_schema", "output_schema"),
            "hokusai_core.signatures.predictor_state": ("PredictorState",),
            "hokusai_core.signatures.strategy_choice": ("StrategyChoice",),
            "hokusai_core.storage.durable_outbox": ("DurableOutbox",),
            "hokusai_core.storage.outbox": ("Outbox", "OutboxDestination", "OutboxFolder", "OutboxPart"),
            "hokusai_core.strategy_task": ("Reward", "StrategyTask"),
            "hokusai_core.suggestions": ("did_you_mean",),
            "hokusai_core.storage": (
                "AppendLog",
                "LogLine",
                "UnsafeFileError",
                "atomic_write",
                "describe_os_error",
                "executor_data_folder",
                "file_lock",
                "is_locked",
                "lock_descriptor",
                "make_missing_folders",
                "open_private_file",
                "parse_line",
                "private_folder",
                "read_log",
                "scan_lines",
                "secure_file",
                "user_cache_folder",
                "user_data_folder",
            ),
        },
    )
