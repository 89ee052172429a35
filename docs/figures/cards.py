"""Writes the tables of what fits common cards, from the plan.

    python -m docs.figures.cards

Rewrites the tables in docs/reference/cards.md and that of the README. Needs no card and no weights.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.models.plan import WeightsPlan
from pipelines.models.planning.cards import COMMON_CARDS, GIB, Card, Host
from pipelines.models.planning.planner import PlanError, Planner, Wishes
from pipelines.models.planning.sizes import QWEN_IMAGE, ModelSizes, Packed
from pipelines.models.planning.workload import Workload

PAGE = Path(__file__).parents[1] / "reference" / "cards.md"
README = Path(__file__).parents[2] / "README.md"
_TEXT, _EDIT = Workload(1328, 1328), Workload(references=1)
_HEADER = (
    "| card | transformer | on the card | copied a step | text encoder | exact | 1328² | edit |\n" + "|---" * 8 + "|"
)

# The columns of the README's table by the tables of the plans, and then its rows.
_README_COLUMNS = {
    "bf16-64": "hub names, 64 GiB of host memory",
    "fp8-32": "fp8 file, 32 GiB",
    "q4-32": "Q4 GGUF, 32 GiB",
}
_README_CARDS = ("H100", "RTX 5090", "RTX 4090", "RTX 3090", "RTX 4080", "RTX 4070", "RTX 4060")


@dataclass(frozen=True)
class Table:
    """A table of cards up to a size, all with the same files and the same host memory. Sizes are in GiB."""

    name: str
    sizes: ModelSizes
    host: int
    largest: int

    def text(self) -> str:
        """The table in Markdown."""
        cards = [card for card in COMMON_CARDS if card.memory <= self.largest * GIB]
        return "\n".join([_HEADER, *(self._row(card) for card in cards)])

    def _row(self, card: Card) -> str:
        text, edit = (self._plan(card, work) for work in (_TEXT, _EDIT))
        name = f"{card.name}, {card.memory // GIB} GB"
        if text is None:
            return f"| {name} | does not fit | | | | | | |"
        part, encoder = text.transformer, text.text_encoder
        cells = (
            name,
            part.precision,
            _gib(part.resident_bytes),
            _gib(part.streamed_bytes) if part.streamed_bytes else "–",
            f"{encoder.precision}, {'host memory' if encoder.streamed_bytes else 'on the card'}",
            "yes" if text.exact else "no",
            _seconds(text),
            "does not fit" if edit is None else _seconds(edit),
        )
        return f"| {' | '.join(cells)} |"

    def cell(self, card: Card) -> str:
        """What the plan for Qwen-Image's own size says of a card, in a few words."""
        if (plan := self._plan(card, _TEXT)) is None:
            return "does not fit"
        part = plan.transformer
        streamed = f"{part.streamed_bytes / GIB:.0f} GiB streamed, " if part.streamed_bytes else ""
        return f"{'exact ' if plan.exact else ''}{part.precision}, {streamed}{plan.seconds_per_step:.1f} s"

    def _plan(self, card: Card, work: Workload) -> WeightsPlan | None:
        try:
            return Planner(self.sizes, card, Host(self.host * GIB), work, Wishes()).plan()
        except PlanError:
            return None


def _packed(packed: Packed) -> ModelSizes:
    return replace(QWEN_IMAGE, transformer=replace(QWEN_IMAGE.transformer, packed=packed))


TABLES = (
    Table("bf16-64", QWEN_IMAGE, 64, 200),
    Table("bf16-32", QWEN_IMAGE, 32, 32),
    Table("fp8-32", _packed(Packed("fp8", 1.0)), 32, 24),
    Table("q4-32", _packed(Packed("gguf", 0.64)), 32, 24),
)


def tables(page: str) -> Iterator[tuple[Table, str]]:
    """Each table with what the page has for it."""
    for table in TABLES:
        found = re.search(_pattern(table), page, re.DOTALL)
        yield table, found[2].strip() if found else ""


def rewrite(page: str) -> str:
    """The page with its tables made anew."""
    for table in TABLES:
        text = table.text()
        page = re.sub(
            _pattern(table), lambda found, text=text: f"{found[1]}\n{text}\n{found[3]}", page, flags=re.DOTALL
        )
    return page


def readme_table() -> str:
    """The README's table: the plan for each card and each kind of files."""
    columns = [table for table in TABLES if table.name in _README_COLUMNS]
    rows = [card for card in COMMON_CARDS if card.name in _README_CARDS]
    lines = [f"| card | {' | '.join(_README_COLUMNS.values())} |", "|---" * (len(columns) + 1) + "|"]
    for card in rows:
        cells = (f"{card.name}, {card.memory // GIB} GB", *(table.cell(card) for table in columns))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def rewrite_readme(page: str) -> str:
    """The README with its table made anew."""
    return re.sub(r"\| card \|(.*\n\|)+.*", lambda found: readme_table(), page)


def _pattern(table: Table) -> str:
    return rf"(<!-- plan: {table.name} -->\n)(.*?)(\n<!-- end -->)"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _seconds(plan: WeightsPlan) -> str:
    return f"{plan.seconds_per_step:.2f} s"


if __name__ == "__main__":
    for path, write in ((PAGE, rewrite), (README, rewrite_readme)):
        path.write_text(write(path.read_text(encoding="utf-8")), encoding="utf-8")
