"""Commands of this plugin, subcommands of ``hokusai``."""

from __future__ import annotations
