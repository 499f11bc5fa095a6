"""Scoring of tables too long for one machine: what every worker of a cluster does.

Nothing here knows how workers are started or fed: `scripts/score_dataset.py` does that, with Ray.
Needs ``requirements-cluster.txt``.
"""
