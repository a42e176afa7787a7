"""Predictions to figures: UAR and its relatives, calibration, paired bootstrap.

Nothing here needs torch; predictions are logits per clip, kept as CSV.
It imports data (the names of splits) and what is below.
"""
