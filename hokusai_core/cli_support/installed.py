"""List installed plugins and components without an executor."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import click

from hokusai_core.plugins import PluginManager
from hokusai_core.project_file import find_project_file
from hokusai_core.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from hokusai_core.signature_registry import SignatureRegistry
    from hokusai_core.signatures import SignatureSpec

__all__ = ["Installed", "installed"]


class Installed:
    """Plugins and signatures, found when they are first asked for."""

    @cached_property
    def settings(self) -> Settings:
        """The settings that environment variables and the project file make."""
        return Settings.from_environment()

    @property
    def project_file(self) -> Path | None:
        """The project file whose settings hold here, None for none."""
        return find_project_file(os.environ)

    @cached_property
    def plugins(self) -> PluginManager:
        """The plugins; none is imported before an offer of it is needed."""
        value = self.settings.value
        return PluginManager(
            only=value("plugins"), disable=value("disable_plugins"), strict=value("strict_plugins"), extra=()
        )

    @cached_property
    def signatures(self) -> SignatureRegistry:
        """The signatures of all packs, with editions such as promoted ones in the place of their originals."""
        from hokusai_core.execution.edition_finder import EditionFinder
        from hokusai_core.signature_registry import SignatureRegistry

        return SignatureRegistry(
            self.plugins.signature_packs,
            self.settings.value("prefer"),
            find_edition=EditionFinder.of(self.plugins, self.settings).find,
            settle=self._settled,
        )

    def _settled(self, spec: SignatureSpec) -> SignatureSpec:
        if spec.strategy is None:
            return spec
        from hokusai_core.execution.strategy_resolver import (
            StrategyResolver,
        )  # few signatures have one, and listing is to be quick

        return StrategyResolver(self.plugins).settled(spec)

    def close(self) -> None:
        """Close the plugin manager, where there is one."""
        if "plugins" in self.__dict__:
            self.plugins.close()


def installed(ctx: click.Context) -> Installed:
    """Return what is installed; one for the whole command."""
    root = ctx.find_root()
    if not isinstance(root.obj, Installed):
        root.obj = Installed()
        root.call_on_close(root.obj.close)
    return root.obj
