"""Figures to pages, charts and tables: self-contained HTML, Markdown, notebooks.

Nothing here computes a metric.
It imports evaluation and what is below.
"""
