"""Has METADATA without a name."""
