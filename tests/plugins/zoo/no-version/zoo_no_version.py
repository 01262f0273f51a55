"""Has METADATA without a version."""
