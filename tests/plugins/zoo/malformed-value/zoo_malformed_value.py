"""Has entry points that cannot be used."""
