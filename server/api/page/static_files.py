"""The files of the web page: their bytes, types and hashes, read once at the start. Knows no HTTP.

`index.html` names the other files under a folder that is called after a hash of them all. So browsers may keep them
for ever, and a new version is loaded at once. Browsers get scripts and styles without the lines that are comments,
and all styles as one file: nothing is painted before the last one has come.
"""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("static")
INDEX = "index.html"
# The kinds of files that the page consists of. Names come from here, so no guess decides what a browser runs.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_COMMENTS = re.compile(rb"^[ \t]*(?://[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)[ \t]*\n", re.MULTILINE)
# In `index.html`: the folder of the other files, and a hint for each module to load it at once.
RELEASE_MARK, MODULES_MARK = "{release}", "<!-- modules -->"
_STYLE = re.compile(r'<link rel="stylesheet" href="page/{release}/(.+)">\n')


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file. `etag` has its quotation marks; `zipped` are the same bytes in gzip."""

    content: bytes
    zipped: bytes
    mime: str
    etag: str


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """The page: its first document, and its other files by their path under `static`."""

    release: str
    index: StaticFile
    files: Mapping[str, StaticFile]


def load_static_files(folder: Path = FOLDER) -> StaticFiles:
    """Read every file of the page. Raises `KeyError` for a file of another kind than `TYPES` has."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: _file(name, _without_comments(name, (folder / name).read_bytes())) for name in names}
    whole = hashlib.sha256("".join(f"{name}{file.etag}" for name, file in files.items()).encode())
    release = whole.hexdigest()[:12]
    template = _with_one_style(files.pop(INDEX).content.decode(), files)
    modules = [name for name in files if name.endswith(".js")]
    # Of low priority, so that the style that the first paint waits for comes before them.
    hints = "\n".join(
        f'<link rel="modulepreload" fetchpriority="low" href="page/{release}/{name}">' for name in modules
    )
    document = template.replace(MODULES_MARK, hints).replace(RELEASE_MARK, release)
    return StaticFiles(release, _file(INDEX, document.encode()), files)


def _with_one_style(template: str, files: dict[str, StaticFile]) -> str:
    """The document with the first of its styles alone, to which the others are added."""
    names = _STYLE.findall(template)
    if names:
        files[names[0]] = _file(names[0], b"".join(files.pop(name).content for name in names))
    return _STYLE.sub(lambda link: link[0] if link[1] == names[0] else "", template)


def _without_comments(name: str, content: bytes) -> bytes:
    """The content without its comments that have lines of their own: they are for people who change the page."""
    return _COMMENTS.sub(b"", content) if name.endswith((".js", ".css")) else content


def _file(name: str, content: bytes) -> StaticFile:
    digest = hashlib.sha256(content).hexdigest()[:20]
    zipped = gzip.compress(content, mtime=0)
    return StaticFile(content, zipped, TYPES[Path(name).suffix], f'"{digest}"')
