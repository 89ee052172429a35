import re

from pipelines.detection.content import THRESHOLDS
from tests.docs.pages import ROOT, text_of


def test_the_page_has_the_labels_and_thresholds_that_count() -> None:
    page = text_of(ROOT / "docs" / "reference" / "content-check.md")
    assert {label: float(score) for label, score in re.findall(r"\| `([A-Z_]+)` \| ([\d.]+) \|", page)} == THRESHOLDS
