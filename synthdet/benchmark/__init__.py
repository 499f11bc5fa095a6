"""How fast the entry is, beside the bare model, the bare decoder, and PyTorch without it."""
