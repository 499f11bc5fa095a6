"""What a model sees of a picture, and what happens to pictures on their way to it."""
