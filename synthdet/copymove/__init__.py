"""Which regions of a picture are copies of one another: by matching, by a network, by both."""
