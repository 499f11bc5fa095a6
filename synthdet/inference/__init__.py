"""Weights folders and the models in them: images to logits, and images to maps."""
