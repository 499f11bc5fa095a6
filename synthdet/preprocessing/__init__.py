"""What a model sees of an image, and what happens to images on their way to it.

This is the only place where pixels are cropped, padded or resized, for training and for inference.
"""
