"""Sampled neurons of every model: the vectors that are compared when charting."""
