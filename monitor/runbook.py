"""Runbook: what to do about an alert, as a page; rules link to it, and it needs no network.

The files are those of ``docs/runbooks``, which the package brings along.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

FOLDER = Path(__file__).parent / "runbooks"


@dataclass(frozen=True, slots=True)
class Runbook:
    """One alert's: its first sentence, and all of it as HTML whose headings start at the second
    level."""

    alert: str
    lead: str
    body: str


@cache
def runbooks() -> dict[str, Runbook]:
    """Alert -> runbook, in the order of the names."""
    return {file.stem: _read(file) for file in sorted(FOLDER.glob("*.md"))}


def _read(file: Path) -> Runbook:
    text = file.read_text(encoding="utf-8")
    reader = MarkdownIt("commonmark", {"html": False})
    tokens = reader.parse(text)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{int(token.tag[1:]) + 1}"
    first = next(token.content for token in tokens
                 if token.type == "inline" and not token.content.startswith("Holdfast"))
    return Runbook(file.stem, first.replace("\n", " ").partition(". ")[0].rstrip(".") + ".",
                   reader.renderer.render(tokens, reader.options, {}))
