import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.containers.safetensors_header import read_safetensors_header


def write(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_it_reads_what_the_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4, dtype=torch.bfloat16), "s": torch.tensor(2.5)}
    tensors["empty"] = torch.tensor([])
    save_file(tensors, path, {"made": "by hand"})
    header = read_safetensors_header(path)
    assert header.metadata == {"made": "by hand"}
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(header.tensors)
        for name, entry in header.tensors.items():
            part = file.get_slice(name)
            assert (list(entry.shape), entry.kind) == (part.get_shape(), part.get_dtype())
            bytes_there = path.read_bytes()[entry.offset : entry.offset + entry.size]
            assert bytes_there == tensors[name].view(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no safetensors file"),
        ((2**60).to_bytes(8, "little") + b"{}", "is no safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        ((5000).to_bytes(8, "little") + b"{}", "is truncated: it has 10 of 5,008 bytes"),
        ((2).to_bytes(8, "little") + b"[]", "its header cannot be read"),
        ((2).to_bytes(8, "little") + b"{x", "its header cannot be read"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=said):
        read_safetensors_header(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [2]},
        "F32",
    ],
)
def test_tensors_that_cannot_be(tmp_path: Path, entry: object) -> None:
    with pytest.raises(FormatError, match="its header cannot be read"):
        read_safetensors_header(write(tmp_path / "a.safetensors", {"a": entry}, bytes(8)))


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"'a\.safetensors' is truncated: it has \d+ of \d+ bytes"):
        read_safetensors_header(path)
