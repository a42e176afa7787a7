"""Sounds, corpora and augmentations looked at and heard, one HTML page each."""
