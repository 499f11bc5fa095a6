"""Losses as pure functions: of pixels, and of sets of regions."""
