"""Finished runs on disk: records, what a run inherits, and inference with its network.

A run is a folder with ``metrics.json``, weights and predictions.
It imports nets, metrics, data and what is below.
"""
