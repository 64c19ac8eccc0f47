"""Attributes and results as the lineage tells them (paper, section 3.2), and how well that does on what is left out."""
