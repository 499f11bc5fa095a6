"""Synthetic-image detection at run time: files in, logits (and masks) out. Free of torch."""

__version__ = "0.1.0"
