"""What a model sees of a picture, and what happens to pictures on their way to it.

This is the only place where pixels are cropped, padded or resized, for training and for inference.
"""
