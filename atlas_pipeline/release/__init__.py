"""Release stage: checks everything anew, bundles the tables, publishes them."""
