"""Corpora to training data: rendering, speaker-disjoint splits, datasets, augmentation.

Held-out speakers are decided here, in :mod:`ser_edge.data.splits`, and nowhere else.
It imports config, corpora, mel, audio and the shared modules.
"""
