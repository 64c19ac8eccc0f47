"""Hand-made knowledge: parents that people looked up, and names under which a model was once known."""
