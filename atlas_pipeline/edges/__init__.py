"""Which model was made from which: charting the edges of a region, its baselines, and their scores."""
