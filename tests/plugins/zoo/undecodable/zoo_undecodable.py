"""Has an entry_points.txt that is not UTF-8."""
