"""Features of frozen networks, computed once and stored."""
