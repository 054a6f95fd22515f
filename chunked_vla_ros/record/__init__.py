"""Record episodes through the whole graph: seeded ones of the expert, or those of a person."""
