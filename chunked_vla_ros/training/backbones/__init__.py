"""Backbones: from images and an instruction to tokens that the action expert attends to."""
