"""Sounds, corpora and augmentations to see and listen to, one HTML page each."""
