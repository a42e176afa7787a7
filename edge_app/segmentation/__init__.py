"""Where somebody speaks (VAD), and windows to segments with one emotion each.

NumPy only.
It imports :mod:`edge_app.results`, and ``ser_edge``'s mel and shared modules.
"""
