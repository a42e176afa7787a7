"""Figures to charts and pages: self-contained HTML, and what the notebook draws.

Charts are Matplotlib's SVG (:mod:`ser_edge.reports.figures`), mel images are PNG by Pillow. Nothing
here computes a metric. It imports evaluation and what is below.
"""
