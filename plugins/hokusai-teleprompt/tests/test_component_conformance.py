"""The feedback store, the promotions and the commands of this plugin pass the conformance suites of their kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hokusai_core.plugin_api import Artifact, SignatureSpec
from hokusai_core.testing.commands import CommandConformance
from hokusai_core.testing.edition_sources import EditionSourceConformance
from hokusai_core.testing.feedback_stores import FeedbackStoreConformance
from hokusai_teleprompt import SqliteFeedbackStore
from hokusai_teleprompt.promotion_history import PromotionHistory
from hokusai_teleprompt.promotion_source import PromotionSource


class TestSqliteFeedbackStore(FeedbackStoreConformance):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], SqliteFeedbackStore]:
        return lambda: SqliteFeedbackStore(tmp_path / "feedback.db")


class TestPromotionSource(EditionSourceConformance):
    @pytest.fixture
    def make_source(self) -> type[PromotionSource]:
        return PromotionSource

    def put(self, name: str, base: SignatureSpec, better: SignatureSpec, namespace: str) -> None:
        PromotionHistory(namespace).promote(name, Artifact(better, base, name, promoted=True))


class TestOptimizeCommand(CommandConformance):
    target = "hokusai_teleprompt.commands.optimize_command:optimize"


class TestDiffCommand(CommandConformance):
    target = "hokusai_teleprompt.commands.diff_command:diff"


class TestPackCommand(CommandConformance):
    target = "hokusai_teleprompt.commands.pack_command:pack"


class TestFeedbackCommand(CommandConformance):
    target = "hokusai_teleprompt.commands.feedback_command:feedback"
