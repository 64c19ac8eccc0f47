"""Raw stage: hub-stats snapshots as the source gave them."""
