"""The demonstration: the whole graph drives seeded episodes and reports on them."""
