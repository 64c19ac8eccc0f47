"""Trends stage: what the atlas says about the field, as tables and pictures."""
