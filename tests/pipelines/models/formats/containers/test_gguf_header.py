import struct
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.models.formats.containers.gguf_header import KINDS, read_gguf_header
from pipelines.models.formats.containers.headers import FormatError


def write(path: Path, *, version: int = 3, tensors: int = 0, fields: int = 0, rest: bytes = b"") -> Path:
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version, tensors, fields) + rest)
    return path


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def save(path: Path) -> Path:
    writer = gguf.GGUFWriter(path, "qwen_image")
    writer.add_uint32("general.quantization_version", 2)
    writer.add_array("names", ["a", "b"])
    writer.add_array("comfy.gguf.orig_shape.reshaped", [4, 2, 64])
    values = np.random.default_rng(1).normal(size=(4, 128)).astype(np.float32)
    writer.add_tensor("plain", values)
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q5_1):
        writer.add_tensor(kind.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.add_tensor("reshaped", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_it_reads_what_the_library_reads(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gguf")
    header, reader = read_gguf_header(path), gguf.GGUFReader(path)
    assert header.metadata["general.architecture"] == "qwen_image"
    assert header.metadata["general.quantization_version"] == "2"
    assert header.metadata["names"] == "a,b"
    assert set(header.tensors) == {tensor.name for tensor in reader.tensors}
    for tensor in reader.tensors:
        entry = header.tensors[tensor.name]
        assert (entry.kind, entry.offset, entry.size) == (tensor.tensor_type.name, tensor.data_offset, tensor.n_bytes)
        assert entry.shape == ((4, 2, 64) if tensor.name == "reshaped" else (4, 128))


def test_the_sizes_of_blocks_are_the_librarys() -> None:
    for number, (name, elements, size) in KINDS.items():
        kind = gguf.GGMLQuantizationType(number)
        assert (kind.name, gguf.GGML_QUANT_SIZES[kind]) == (name, (elements, size))


@pytest.mark.parametrize("kind", ["IQ4_XS", "IQ2_XXS", "IQ1_M", "TQ1_0", "MXFP4", "NVFP4", "Q1_0", "Q8_K"])
def test_types_that_cannot_be_read_are_named_with_what_can(tmp_path: Path, kind: str) -> None:
    number = gguf.GGMLQuantizationType[kind].value
    info = string("blk") + struct.pack("<IQQIQ", 2, 256, 4, number, 0)
    family = "of number 15" if kind == "Q8_K" else kind.split("_")[0].rstrip("1234") if kind[0] in "IT" else None
    said = f"type {family or kind.split('_')[0]}, such as blk, .*use a file of Q2_K to Q8_0 or BF16"
    with pytest.raises(FormatError, match=said):
        read_gguf_header(write(tmp_path / "a.gguf", tensors=1, rest=info))


@pytest.mark.parametrize(
    "spoilt",
    [
        {"tensors": 2**60},
        {"fields": 2**60},
        {"fields": 1, "rest": struct.pack("<Q", 2**60)},
        {"fields": 1, "rest": string("a") + struct.pack("<IIQ", 9, 4, 2**60)},
        {"fields": 1, "rest": string("a") + struct.pack("<II", 99, 0)},
        {"fields": 1, "rest": string("general.alignment") + struct.pack("<II", 4, 0)},
        {"tensors": 1, "rest": string("a") + struct.pack("<I", 2**31)},
        {"tensors": 1, "rest": string("a") + struct.pack("<IQQIQ", 2, 3, 4, 2, 0)},
        {"fields": 1, "rest": struct.pack("<Q", 2) + b"\xff\xff" + struct.pack("<II", 4, 0)},
        {"fields": 1, "rest": string("a")},
    ],
)
def test_impossible_numbers_end_at_once(tmp_path: Path, spoilt: dict[str, int | bytes]) -> None:
    with pytest.raises(FormatError, match="is damaged or truncated; copy or download it again"):
        read_gguf_header(write(tmp_path / "a.gguf", **spoilt))  # pyright: ignore[reportArgumentType]


def test_other_files_and_versions(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="version 9; versions 2 and 3 can be read"):
        read_gguf_header(write(tmp_path / "a.gguf", version=9))
    (tmp_path / "b.gguf").write_bytes(b"version https://git-lfs")
    with pytest.raises(FormatError, match="pointer of Git LFS"):
        read_gguf_header(tmp_path / "b.gguf")


@given(st.integers(0, 1), st.binary(max_size=40))
def test_a_file_that_is_cut_or_spoilt_anywhere_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, where: int, noise: bytes
) -> None:
    path = save(tmp_path_factory.mktemp("spoilt") / "a.gguf")
    content = path.read_bytes()
    at = 24 + (len(noise) * 13) % 200
    path.write_bytes(content[:at] + noise + (content[at + len(noise) :] if where else b""))
    with suppress(FormatError):
        assert all(
            entry.offset + entry.size <= path.stat().st_size for entry in read_gguf_header(path).tensors.values()
        )
