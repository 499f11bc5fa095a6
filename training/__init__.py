"""Training: data, models, recipes, export. Nothing here runs in a contest."""
