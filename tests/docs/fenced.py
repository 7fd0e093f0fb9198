"""Pages of Markdown: their fenced blocks, the commands in them, and the files that they show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.data import ROOT

PAGES = ("README.md", "docs/operations.md", "docs/upgrade.md", "docs/troubleshooting.md",
         "docs/kubernetes.md", "docs/trainers.md", "docs/security.md")
"""Pages whose commands are run."""
FENCE = re.compile(r"^( *)```([a-z]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"`([\w.-]+\.(?:ya?ml|py))`(?:[^`\n]|\n(?!\n))*:\n+\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; ``file`` is the name that the line before gives to it, such as
    "`holdfast.yaml` beside it:"."""

    page: str
    line: int
    language: str
    text: str
    file: str | None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a shell, its continuations joined."""

    place: str
    text: str


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    """The page's blocks, from the top."""
    text = read(page)
    return [Block(page, text.count("\n", 0, found.start()) + 1, found[2],
                  re.sub(f"^{found[1]}", "", found[3], flags=re.MULTILINE),
                  name[1] if (name := NAMED.search(text[: found.start()])) else None)
            for found in FENCE.finditer(text)]


def lines(block: Block) -> Iterator[Line]:
    """What a person would type, line by line, without comments."""
    begun = ""
    for number, text in enumerate(block.text.splitlines(), block.line + 1):
        begun += re.sub(r"(^|\s)#.*", "", text).strip()
        if begun.endswith("\\"):
            begun = begun[:-1].rstrip() + " "
            continue
        if begun:
            yield Line(f"{block.page}:{number}", begun)
        begun = ""


def spoken(page: str, program: str) -> Iterator[str]:
    """Commands of that program that stand in the running text."""
    prose = FENCE.sub("", read(page))
    for words in re.findall(r"`([^`]+)`", prose):
        if words.startswith(f"{program} "):
            yield words.replace("\n", " ")
