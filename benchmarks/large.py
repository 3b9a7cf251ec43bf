"""W5."""
LARGE = {}
