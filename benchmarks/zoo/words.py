"""Words that models and organisations are called by. They say nothing about anything."""

from __future__ import annotations

from typing import Final

FIRST_WORDS: Final = (
    "amber", "ancient", "autumn", "azure", "bitter", "blue", "bold", "brave", "breezy", "bright", "brisk", "broad",
    "bronze", "calm", "candid", "cedar", "clever", "cloudy", "cobalt", "copper", "coral", "crimson", "crisp",
    "curious", "dapper", "dawn", "deep", "distant", "dusty", "eager", "early", "ebony", "elder", "fallow", "fern",
    "fierce", "floral", "foggy", "frosty", "gentle", "gilded", "glad", "golden", "grand", "gray", "green", "happy",
    "hazel", "hidden", "hollow", "humble", "icy", "idle", "indigo", "ivory", "jade", "jolly", "keen", "kind",
    "lapis", "late", "lilac", "lively", "lone", "lucid", "lunar", "maple", "marble", "mellow", "merry", "misty",
    "modest", "mossy", "muted", "navy", "nimble", "noble", "oaken", "ochre", "olive", "opal", "pale", "patient",
    "pearl", "pine", "plain", "plum", "polar", "proud", "quaint", "quick", "quiet", "rapid", "rose", "royal",
    "ruby", "russet", "rustic", "sable", "sage", "scarlet", "sepia", "serene", "shady", "sharp", "shy", "silent",
    "silver", "sleek", "slow", "snowy", "soft", "solar", "sour", "spare", "spry", "steady", "still", "stony",
    "sunny", "swift", "tall", "teal", "tidy", "topaz", "tranquil", "umber", "upper", "vast", "velvet", "violet",
    "vivid", "warm", "wild", "windy", "wise", "witty", "young", "zesty",
)  # fmt: skip

SECOND_WORDS: Final = (
    "acorn", "anchor", "anvil", "arbor", "arrow", "badger", "barrel", "basin", "beacon", "beetle", "birch", "bison",
    "blossom", "boulder", "bramble", "bridge", "brook", "burrow", "cabin", "canyon", "carp", "castle", "cavern",
    "chapel", "cinder", "cliff", "clover", "comet", "compass", "condor", "cove", "crane", "creek", "cricket",
    "crow", "dagger", "delta", "desert", "dolphin", "dune", "eagle", "ember", "falcon", "feather", "field", "finch",
    "fjord", "flint", "forest", "fox", "garden", "gate", "geyser", "glacier", "grove", "gull", "harbor", "hare",
    "harp", "hawk", "heath", "heron", "hill", "hornet", "inlet", "island", "jackal", "jasper", "kestrel", "kettle",
    "kite", "lagoon", "lake", "lantern", "lark", "ledge", "lemur", "lichen", "lily", "lion", "lizard", "loom",
    "lynx", "magpie", "mantis", "marsh", "meadow", "mill", "mole", "moth", "mountain", "narwhal", "nest", "oak",
    "oasis", "orchard", "osprey", "otter", "owl", "panther", "pebble", "pelican", "pepper", "petrel", "pigeon",
    "plateau", "pond", "poppy", "quail", "quarry", "rabbit", "raven", "reed", "reef", "ridge", "river", "robin",
    "rook", "sail", "salmon", "shore", "shrew", "sparrow", "spring", "spruce", "squid", "stoat", "stork", "stream",
    "swallow", "swan", "thicket", "thistle", "thorn", "thrush", "tiger", "toad", "trout", "tulip", "tundra",
    "turtle", "valley", "viper", "walnut", "walrus", "weasel", "willow", "wolf", "wren", "yak",
)  # fmt: skip
