"""List installed plugins and components without an executor."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import click

from hokusai_core import Settings
from hokusai_core.plugin_api import PluginManager

if TYPE_CHECKING:
    from hokusai_core.plugin_api import SignatureRegistry, SignatureSpec

__all__ = ["Installed", "installed"]


class Installed:
    """Plugins and signatures, found when they are first asked for."""

    @cached_property
    def settings(self) -> Settings:
        """The settings that environment variables make."""
        return Settings.from_environment()

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
        from hokusai_core.plugin_api import EditionFinder, SignatureRegistry

        return SignatureRegistry(
            self.plugins.signature_packs,
            self.settings.value("prefer"),
            find_edition=EditionFinder.of(self.plugins, self.settings).find,
            settle=self._settled,
        )

    def _settled(self, spec: SignatureSpec) -> SignatureSpec:
        if spec.strategy is None:
            return spec
        from hokusai_core.plugin_api import StrategyResolver  # few signatures have one, and listing is to be quick

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
