"""Has an entry_points.txt that cannot be parsed."""
