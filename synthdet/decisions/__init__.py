"""What a logit means: probability, verdict, and where neither can be believed."""
