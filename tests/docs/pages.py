"""The Markdown pages of the project, taken apart: code blocks, sentences, headings. Knows no page in particular."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)

_FENCE = re.compile(r"^(\s*)```(\w*)\n(.*?)^\s*```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_CODE = re.compile(r"`[^`]*`")
_CODES = re.compile(r"\bCODE(?:(?:,| and| or|, and|, or) CODE)+")  # a list of names reads as one
_SENTENCE_END = re.compile(r"[.!?:;]\**(?:\s|$)")


def name_of(page: Path) -> str:
    """The path of a page inside the project."""
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    """The Markdown of a page."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [code for _, found, code in _FENCE.findall(text_of(page)) if found == language]


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    titles = re.findall(r"^#+ (.*)$", _FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def sentences(page: Path) -> Iterator[str]:
    """The sentences of paragraphs and lists. Tables, headings, code and generated parts are left out."""
    text = _COMMENT.sub("", _FENCE.sub("\n", text_of(page)))
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        starts_item = re.match(r"\s*(?:[-*]|\d+\.) ", line)
        if not line.strip() or line.startswith(("#", "|")) or starts_item:
            yield from _split(" ".join(lines))
            lines = []
        if line.strip() and not line.startswith(("#", "|")):
            lines.append(re.sub(r"^\s*(?:[-*]|\d+\.) ", "", line).strip())


def _split(paragraph: str) -> Iterator[str]:
    plain = _CODES.sub("CODE", _CODE.sub("CODE", _LINK.sub(r"\1", paragraph)))
    yield from (sentence.strip() for sentence in _SENTENCE_END.split(plain) if sentence.strip())
