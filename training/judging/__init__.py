"""Trained networks on whole pictures: what came out, and how good it is."""
