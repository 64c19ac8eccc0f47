"""Components stage: cleaned models, documented parents, repairs, regions."""
