"""Attributes stage: reported evaluations, and attributes filled in from the atlas."""
