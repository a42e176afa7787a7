"""Sound files to waveforms: decoding, containers, WAV headers, resampling, windows.

Everything here returns mono ``float32`` waveforms of shape ``(samples,)`` in [-1, 1].
It imports nothing of this distribution.
"""
