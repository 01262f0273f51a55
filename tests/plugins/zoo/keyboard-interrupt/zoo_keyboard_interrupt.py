"""Stands for Ctrl-C during an import."""

raise KeyboardInterrupt
