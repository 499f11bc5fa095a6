"""Pure functions that score answers against truth; each says what an absent class scores.

detection   one logit a picture against one label a picture
pairs       logits and labels within families that hold both classes
pixels      one map a picture against one mask a picture
instances   several masks a picture against several masks a picture
intervals   how far any of these could be off, by bootstrap
"""
