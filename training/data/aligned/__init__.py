"""Real photographs made anew by generative networks, so that only the trace differs."""
