"""What model cards say of parents: front matter, mergekit configurations, sentences and tables."""

from atlas_pipeline.components.cards.parsing import ParsedCard, parse_card, parsed_cards

__all__ = ["ParsedCard", "parse_card", "parsed_cards"]
