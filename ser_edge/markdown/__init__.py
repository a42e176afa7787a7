"""Markdown tables, and the documents that hold them.

Every report that is text writes its tables with :func:`table`.
It imports the shared modules.
"""

from __future__ import annotations

from ser_edge.markdown.tables import table

__all__ = ["table"]
