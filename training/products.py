"""Everything that hangs on the embedded weights, made anew by one command: `make embedded-all`.

    python -m training.products [--check] [--only NAME …]

Each product carries the fingerprint of the weights that it was made with. The command makes those that carry another
one, in the order in which they depend on each other, so it resumes where it was interrupted. Knows commands and
fingerprints; knows no network.
"""

import argparse
import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from accel.cache.profile import FOLDER, read_profile
from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER
from pipelines.catalog.fingerprint import folder_fingerprint, part_fingerprint

ROOT = Path(__file__).parents[1]
ADAPTERS = EMBEDDED_FOLDER / "adapters.json"  # by adapter: the fingerprint of the checkpoint that it was trained on
PROFILE = FOLDER / f"{EMBEDDED}.toml"
_PARTS = ("transformer", "text_encoder", "vae", "tokenizer", "scheduler")
_CARD = EMBEDDED_FOLDER / "MODEL_CARD.md"
_TABLE = "docs/reference/step-cache-results.md"
_RESULTS = "benchmarks/results/step-caches-cpu.jsonl"
_PRECISIONS = "benchmarks/results/precisions-cpu.jsonl"
_COUNT = "48"  # held-out prompts for each score
_SERVER_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Product:
    """A file or a group of files.

    `made_with` returns the fingerprints that it carries, one if it is of one set of weights, none if nothing is known.
    `wanted` is the present one.
    """

    name: str
    made_with: Callable[[], set[str]]
    wanted: Callable[[], str]
    make: Callable[[], None]

    @property
    def is_current(self) -> bool:
        """Whether it is of the present weights alone."""
        return self.made_with() == {self.wanted()}


def products() -> tuple[Product, ...]:
    """Return all products. Adapters come first, because they are a part of the checkpoint."""
    scores, sheet = EMBEDDED_FOLDER / "scores.json", EMBEDDED_FOLDER / "samples.png"
    return (
        Product("outlines", lambda: _adapter("outlines"), base_fingerprint, lambda: _train("outlines")),
        Product("lightning", lambda: _adapter("lightning"), base_fingerprint, lambda: _train("lightning")),
        Product("edges", lambda: _adapter("edges"), base_fingerprint, lambda: _train("edges")),
        Product(
            "TeaCache profile",
            _profile_fingerprint,
            lambda: str(part_fingerprint(EMBEDDED_FOLDER, "transformer")),
            lambda: _run("make", "profile"),
        ),
        Product(
            "scores",
            lambda: {json.loads(scores.read_text())["weights"]},
            whole_fingerprint,
            lambda: _score(scores),
        ),
        Product("model card", _card_fingerprint, whole_fingerprint, lambda: _python("training.scores.card")),
        Product(
            "samples",
            lambda: _figure(sheet),
            whole_fingerprint,
            lambda: _python("training.scores.samples", "--sheet", str(sheet)),
        ),
        Product("precisions", _precisions, whole_fingerprint, _measure_precisions),
        Product("step caches", _step_caches, whole_fingerprint, _measure_step_caches),
        Product(
            "parameters",
            lambda: _figure(ROOT / "docs/figures/parameters.png"),
            whole_fingerprint,
            lambda: _draw("docs.figures.parameters", "--out", "docs/figures/parameters.png"),
        ),
        Product(
            "web page",
            lambda: set[str]().union(*(_figure(file) for file in (ROOT / "docs/figures").glob("page-*.png"))),
            whole_fingerprint,
            lambda: _draw("docs.figures.page", "--out", "docs/figures"),
        ),
    )


def base_fingerprint() -> str:
    """Return the fingerprint of the checkpoint without its adapters."""
    parts = (f"{part} {part_fingerprint(EMBEDDED_FOLDER, part)}" for part in _PARTS)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def whole_fingerprint() -> str:
    """Return the fingerprint of the checkpoint with its adapters."""
    return folder_fingerprint(EMBEDDED_FOLDER)


def status(product: Product) -> str:
    """Describe a product in one line."""
    found = product.made_with()
    if product.is_current:
        return f"{product.name}: up to date"
    others = ", ".join(sorted(each[:8] for each in found)) or "nothing known"
    return f"{product.name}: made with {others}, the weights are {product.wanted()[:8]}"


def _profile_fingerprint() -> set[str]:
    recipe = read_profile(PROFILE).recipe  # the file as it is now: it is written while this program runs
    return set() if recipe is None else {recipe.weights}


def _adapter(name: str) -> set[str]:
    known = json.loads(ADAPTERS.read_text()) if ADAPTERS.is_file() else {}
    return {known[name]} if name in known else set()


def _train(name: str) -> None:
    _python("training.adapter", name)
    known = json.loads(ADAPTERS.read_text()) if ADAPTERS.is_file() else {}
    ADAPTERS.write_text(json.dumps({**known, name: base_fingerprint()}, indent=1, sort_keys=True) + "\n")


def _score(scores: Path) -> None:
    out = ("--count", _COUNT, "--out", str(scores))
    _python("training.scores.evaluate", *out)
    _python("training.scores.full_world", *out)
    _python("training.scores.evaluate_adapters", "--count", "32", "--out", str(scores))


def _card_fingerprint() -> set[str]:
    return set(re.findall(r"Scores of the weights `(\w{64})`", _CARD.read_text(encoding="utf-8")))


def _figure(file: Path) -> set[str]:
    with Image.open(file) as figure:
        return {figure.info.get("weights", "none")}


def _json_lines(file: str) -> list[Any]:
    return [json.loads(line) for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]


def _precisions() -> set[str]:
    return {line["weights"] for line in _json_lines(_PRECISIONS)}


def _measure_precisions() -> None:
    """Measure all anew. An interrupted measurement leaves the old lines."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "lines.jsonl"
        _python("benchmarks.precisions", "--out", str(draft))
        shutil.copy(draft, ROOT / _PRECISIONS)
    _python("benchmarks.precisions", "report")


def _step_caches() -> set[str]:
    found = {line["case"]["place"]["weights"] for line in _json_lines(_RESULTS)}
    found |= set(re.findall(r"^<!-- weights: (\w+) -->$", (ROOT / _TABLE).read_text(encoding="utf-8"), re.MULTILINE))
    return found | _figure(ROOT / "docs/figures/step-caches.png")


def _measure_step_caches() -> None:
    """Drop the lines of other weights, then measure what is missing."""
    file, wanted = ROOT / _RESULTS, whole_fingerprint()
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    kept = [line for line in lines if json.loads(line)["case"]["place"]["weights"] == wanted]
    file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    _run("make", "bench-caches")


def _draw(module: str, *options: str) -> None:
    """Run a program that draws a figure with the help of a server."""
    with _server() as url:
        _python(module, *options, "--url", url)


@contextmanager
def _server() -> Iterator[str]:
    """A server of the embedded checkpoint on a free port, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as data:
        options = ("--weights", "embedded", "--face-refinement", "--port", str(port), "--data-dir", data)
        server = subprocess.Popen([sys.executable, "-m", "ownware", "serve", *options], cwd=ROOT)
        try:
            _wait_until_ready(url, server)
            yield url
        finally:
            server.terminate()
            server.wait()


def _wait_until_ready(url: str, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _SERVER_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with status {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/readyz"):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SystemExit(f"the server was not ready after {_SERVER_SECONDS} s")


def _python(module: str, *options: str) -> None:
    _run(sys.executable, "-m", module, *options)


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> None:
    """Say what is up to date, and make the rest."""
    known = products()
    parser = argparse.ArgumentParser(prog="python -m training.products", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="make nothing; exit with 1 if anything is not up to date")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in known], help="these products only")
    options = parser.parse_args()
    chosen = [each for each in known if options.only is None or each.name in options.only]
    for product in chosen:
        print(status(product), flush=True)
        if not options.check and not product.is_current:
            product.make()
            if not product.is_current:
                raise SystemExit(f"{status(product)} after it was made anew")
    if options.check and not all(product.is_current for product in chosen):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
