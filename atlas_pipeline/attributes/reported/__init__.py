"""Evaluation results as model-index, card tables, leaderboards and language models report them, and reconciled."""
