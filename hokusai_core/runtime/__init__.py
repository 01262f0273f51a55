"""Blocking and async execution: drivers, threads, event loops, shared calls and the window of a batch."""
