"""Checks of the tables: contracts, invariants as SQL and on graphs, plausibility; and their adapters."""
