"""Measuring models: labelled sets, what is done to their images, scores, tables, drawings.

`scripts/evaluate.py` is the program; `main.py` needs nothing of this.
"""
