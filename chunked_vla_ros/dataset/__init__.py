"""``chunked-vla dataset``: what is in a dataset, is it fit to train on, and changes to it."""
