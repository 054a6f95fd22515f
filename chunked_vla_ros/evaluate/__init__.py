"""How good a policy is: seeded episodes on equal starts, with intervals and pictures."""
