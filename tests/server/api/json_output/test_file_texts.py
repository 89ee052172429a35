import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.json_output.file_texts import (
    FileText,
    compact_json,
    has_files,
    json_parts,
    json_size,
    render_json,
    stream_json,
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / str(size) for size in (0, 1, 3 * 2**18, 3 * 2**18 + 1)]
    for path in paths:
        path.write_bytes(bytes(range(256)) * (int(path.name) // 256) + b"a" * (int(path.name) % 256))
    return paths


async def test_files_are_sent_in_base64(files: list[Path]) -> None:
    body = {"data": [{"text": "ä", "image": FileText(path)} for path in files], "uri": (FileText(files[1], "data:,"),)}
    texts = [base64.b64encode(path.read_bytes()).decode() for path in files]
    wanted = {"data": [{"text": "ä", "image": text} for text in texts], "uri": [f"data:,{texts[1]}"]}
    parts = json_parts(body)
    chunks = [chunk async for chunk in stream_json(parts)]
    assert json.loads(b"".join(chunks)) == json.loads(compact_json(body)) == wanted
    assert await render_json(body) == compact_json(body)
    assert json_size(parts) == len(b"".join(chunks))
    assert max(map(len, chunks)) <= 2**20
    assert has_files(body)
    assert not has_files(wanted)


def test_nothing_is_read_before_it_is_sent(tmp_path: Path) -> None:
    text = FileText(tmp_path / "later")
    (tmp_path / "later").write_bytes(b"abc")
    assert compact_json([text]) == '["YWJj"]'


SMALL = st.dictionaries(st.text(max_size=9), st.text(max_size=9) | st.integers(), max_size=3)


@given(st.dictionaries(st.text(max_size=9), st.lists(SMALL, max_size=3) | st.integers(), max_size=3))
def test_objects_and_their_lists_are_whole(value: dict[str, Any]) -> None:
    assert json.loads(compact_json(value)) == value
    assert compact_json(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def test_json_is_compact() -> None:
    assert json_parts({"a": ["ä", 1]}) == ['{"a":["ä",1]}']
    assert compact_json({"a": ["ä", 1]}) == await render_json({"a": ["ä", 1]}) == '{"a":["ä",1]}'
