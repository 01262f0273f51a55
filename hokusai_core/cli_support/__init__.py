"""Helpers for the commands of Hokusai and of plugins: inputs, tables, progress, and clear failures.

Only commands import these modules. They need ``click``; ``rich`` is used where it is installed and a terminal is there.
"""
