import json
from dataclasses import replace
from pathlib import Path

import pytest

from accel.cache.profile import Recipe
from accel.calibration.traces import Header, Observation, Trace, TraceError, TraceFile, read_traces, write_traces

HEADER = Header(1, "runware:108@1", Recipe("a", "b"))
SEEN = (
    Observation(0, 0, "cond", 1.0, None, None, None, ()),
    Observation(1, 0, "cond", 0.5, 0.25, 0.5, 0.125, (0.3,), (0.2,)),
)
TRACE = Trace("红 “a”", 1, 2, 1.0, 128, 96, SEEN)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_traces(tmp_path / "new" / "a.jsonl", HEADER, [TRACE, TRACE])
    assert read_traces(tmp_path / "new" / "a.jsonl") == (HEADER, (TRACE, TRACE))
    assert not TRACE.guided
    assert TRACE.area == 128 * 96


def test_the_keys_of_an_observation(tmp_path: Path) -> None:
    write_traces(tmp_path / "a.jsonl", HEADER, [TRACE])
    line = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()[1])
    assert line["observations"][1] == {
        "step": 1,
        "evaluation": 0,
        "branch": "cond",
        "sigma": 0.5,
        "input": 0.25,
        "remainder": 0.5,
        "output": 0.125,
        "first": [0.3],
        "front": [0.2],
    }


@pytest.mark.parametrize(
    ("line", "field", "value", "said"),
    [
        (0, "trace_format", 2, "trace_format: 2; only format 1"),
        (0, "model", 3, "line 1: model: "),
        (1, "steps", "many", "line 2: steps: "),
        (1, "mood", 1, "line 2: mood: "),
        (1, "observations", [{}], "line 2: observations.0.step: "),
    ],
)
def test_a_corrupt_file_is_refused_by_line_and_field(
    tmp_path: Path, line: int, field: str, value: object, said: str
) -> None:
    path = tmp_path / "a.jsonl"
    write_traces(path, HEADER, [TRACE])
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[line] = json.dumps(json.loads(lines[line]) | {field: value})
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(TraceError) as refusal:
        read_traces(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert said in str(refusal.value)


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"[]\n"])
def test_a_file_that_is_no_trace(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(TraceError, match=r"a\.jsonl"):
        read_traces(tmp_path / "a.jsonl")
    with pytest.raises(TraceError, match=r"b\.jsonl"):
        read_traces(tmp_path / "b.jsonl")


OTHER = replace(TRACE, seed=2)


@pytest.mark.parametrize("cut", [b"", b"{", b'{"prompt":"a'])
def test_an_interrupted_file_is_taken_up(cut: bytes, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    TraceFile(path, HEADER).append(TRACE)
    with path.open("ab") as file:
        file.write(cut)
    taken_up = TraceFile(path, HEADER)
    assert (len(taken_up), taken_up.find(TRACE.key), taken_up.find(OTHER.key)) == (1, TRACE, None)
    taken_up.append(OTHER)
    assert read_traces(path) == (HEADER, (TRACE, OTHER))


@pytest.mark.parametrize(
    "header",
    [
        replace(HEADER, model="x"),
        replace(HEADER, recipe=Recipe("x", "b")),
        replace(HEADER, dtype="bfloat16"),
        replace(HEADER, size=(64, 64)),
    ],
)
def test_images_of_other_weights_sizes_and_types_are_dropped(header: Header, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    TraceFile(path, HEADER).append(TRACE)
    other = TraceFile(path, header)
    assert len(other) == 0
    other.append(OTHER)
    assert read_traces(path) == (header, (OTHER,))


def test_everything_that_decides_over_an_image_is_in_its_key() -> None:
    changed = [
        replace(TRACE, **change)
        for change in ({"prompt": "x"}, {"references": ("x",)}, {"seed": 9}, {"steps": 9}, {"guidance": 4.0})
    ]
    assert len({trace.key for trace in (TRACE, *changed)}) == 6


def test_a_prompt_may_have_any_line_separator(tmp_path: Path) -> None:
    write_traces(tmp_path / "a.jsonl", HEADER, [replace(TRACE, prompt="a\u2028b"), TRACE])
    assert len(read_traces(tmp_path / "a.jsonl")[1]) == 2
