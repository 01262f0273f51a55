"""Needs a distribution that is not installed."""

import yonder_library
