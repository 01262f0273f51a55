"""Needs another version of a distribution that is installed."""

from attrs import no_such_name
