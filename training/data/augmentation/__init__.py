"""What strangers do to pictures, for both classes alike, with masks that go along."""
