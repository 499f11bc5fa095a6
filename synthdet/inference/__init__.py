"""Weights folders and the models in them: pictures to logits, and pictures to maps."""
