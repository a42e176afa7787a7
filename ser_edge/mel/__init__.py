"""Waveforms to mel images: the specification, the NumPy function and its torch twin.

A mel image is ``uint8 (n_mels, frames)``; training and edge use the same bytes.
It imports :mod:`ser_edge.audio` and the shared modules.
"""
