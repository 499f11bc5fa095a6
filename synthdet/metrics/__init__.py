"""Pure functions that score answers against truth; each says what an absent class scores.

detection   one logit per image against one label per image
pairs       logits and labels within families that hold both classes
pixels      one map per image against one mask per image
instances   several masks per image against several masks per image
intervals   how far any of these could be off, by bootstrap
"""
