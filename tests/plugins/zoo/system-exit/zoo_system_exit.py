"""Ends the process when it is imported."""

import sys

sys.exit("good bye")
