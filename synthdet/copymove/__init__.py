"""Which regions of an image are copies of one another: by matching, by a network, by both."""
