"""What the figures in the documents come from: a hub of any size, timings, and peers to compare with."""
