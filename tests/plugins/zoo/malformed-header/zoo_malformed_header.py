"""Has a section header without its bracket."""
