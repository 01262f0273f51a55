"""Needs another version of the core."""

from hokusai_core.errors import NoSuchError
