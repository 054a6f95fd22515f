"""Policies learnt from datasets: the networks, their losses, the trainer, the way to a bundle."""
