"""Sounds, corpora and augmentations to see and listen to, one HTML page each.

It imports the charts and pages of ser_edge.reports, data, corpora, mel, audio and shared modules.
"""
