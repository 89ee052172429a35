"""A page with a slider for each pair of pictures, before and after. It needs no other file and no network.

Nothing of a name is markup. Knows pictures and HTML; knows no task.
"""

import base64
import hashlib
import html
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pipelines.pictures.image_files import open_image
from pipelines.pictures.reader import show

_LONGEST_SIDE, _QUALITY = 1024, 82  # of the copies in the page

_STYLE = """
:root { color-scheme: light dark; font: 16px system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; }
main { display: grid; gap: 2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; }
.pair { position: relative; }
.pair img { display: block; width: 100%; background: repeating-conic-gradient(#ccc 0 25%, #fff 0 50%) 0 0 / 16px 16px; }
.pair img + img { position: absolute; inset: 0; height: 100%; clip-path: inset(0 0 0 var(--at, 50%)); }
.pair::after { content: ""; position: absolute; inset: 0 auto 0 var(--at, 50%); width: 2px; background: #fff;
  box-shadow: 0 0 3px #000; pointer-events: none; }
input { width: 100%; margin: .5rem 0 0; }
figcaption { overflow-wrap: anywhere; }
"""
_SCRIPT = """
for (const input of document.querySelectorAll("input")) {
  const pair = input.previousElementSibling;
  const move = () => pair.style.setProperty("--at", input.value + "%");
  input.addEventListener("input", move);
  pair.addEventListener("pointermove", event => {
    const box = pair.getBoundingClientRect();
    input.value = 100 * (event.clientX - box.left) / box.width;
    move();
  });
}
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A source and its result."""

    name: str
    before: Path
    after: Path


def compare_page(title: str, pairs: Iterable[Pair]) -> str:
    """The HTML of all pairs whose files can be opened."""
    figures = "".join(figure for pair in pairs if (figure := _figure(pair)) is not None)
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}; style-src-attr \'unsafe-inline\'">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1><main>{figures}</main><script>{_SCRIPT}</script></body></html>\n"
    )


def _figure(pair: Pair) -> str | None:
    name = html.escape(pair.name)
    try:
        before, after = _copy(pair.before), _copy(pair.after)
    except (OSError, SyntaxError, ValueError):  # moved or changed since
        return None
    return (
        f'\n<figure><div class="pair"><img alt="before: {name}" src="{before}"><img alt="after: {name}" src="{after}">'
        f'</div><input type="range" value="50" step="0.1" aria-label="before and after: {name}">'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _copy(path: Path) -> str:
    """A small copy as a data URI."""
    with open_image(path) as file:
        file.load()
        image = show(file).image
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
