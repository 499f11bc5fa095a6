"""The commands of `scripts/evaluate.py`: a file for each question that a model answers.

Each file has ``add_commands``, which adds its commands and what runs them to the parser.
"""
