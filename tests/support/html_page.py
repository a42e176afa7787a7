"""Parses and checks the HTML page of a report."""

from __future__ import annotations

import re
from html.parser import HTMLParser

NASTY = "<script>alert('x')</script>&\""
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks the nesting; keeps tags and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self._texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._texts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def check(text: str) -> Page:
    """Check that a page loads nothing, runs nothing and describes its images."""
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not page.of("script")
    assert not page.of("link")
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        if "src" in attributes:
            assert str(attributes["src"]).startswith("data:")
        if "href" in attributes:
            assert tag in ("a", "use", "image")
            anchor = str(attributes["href"])
            assert anchor.startswith("data:" if tag == "image" else "#")
            assert tag == "image" or anchor == "#" or anchor[1:] in ids
    assert all(image.get("alt") for image in page.of("img"))
    assert all(
        drawing.get("aria-label") or drawing.get("aria-hidden") for drawing in page.of("svg")
    )
    assert len(page.of("table")) == len(page.of("caption"))
    assert [a for a in page.of("meta") if "default-src 'none'" in str(a.get("content"))]
    return page
