"""The README's examples, run as they stand there against a real server."""

import re
import subprocess
import sys
from pathlib import Path

from server.settings import Settings
from tests.live import API_KEY, LiveServer

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def example(language: str, word: str) -> str:
    """The fenced block of a language that contains a word."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(block for block in blocks if word in block)


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example(live: LiveServer, tmp_path: Path) -> None:
    code = example("python", "runware").replace("127.0.0.1:8000", live.url.removeprefix("http://"))
    printed = run([sys.executable, "-c", code.replace('api_key="any"', f'api_key="{API_KEY}"')], tmp_path)
    assert len(re.findall(r"^http://\S+/image/\S+\.jpg$", printed, re.MULTILINE)) == 2


def test_the_curl_example(live: LiveServer, tmp_path: Path) -> None:
    code = example("sh", "curl -s").replace("http://127.0.0.1:8000", live.url)
    code = code.replace("curl -s", f"curl -s -H 'Authorization: Bearer {API_KEY}'")
    assert '"seed":7' in run(["sh", "-c", code], tmp_path)


def test_every_option_is_in_the_table() -> None:
    table = README[README.index("## Options") : README.index("## Inside")]
    assert {name for name in Settings.model_fields if f"`{name}`" not in table} == set()


def test_every_make_target_it_names_exists() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
