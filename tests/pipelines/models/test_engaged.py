from dataclasses import replace

import pytest

from pipelines.models.engaged import Engaged

ENGAGED = Engaged(
    model="a:1@1",
    dtype="bfloat16",
    layers={"fp8/scaled_mm": 840},
    encoder_layers={"bfloat16": 196},
    encoder_place="host",
    resident_gib=11.25,
    streamed_gib=2.5,
    host_gib=15.0,
    tables=True,
    attention="cudnn",
)
PLAIN = replace(ENGAGED, layers={"bfloat16": 9}, encoder_place="card", streamed_gib=0, host_gib=0, tables=False)


def test_in_words() -> None:
    assert str(ENGAGED) == (
        "transformer fp8/scaled_mm, 11.25 GiB resident, 2.50 GiB streamed a step, modulation from tables, "
        "text encoder bfloat16 in host memory, attention cudnn"
    )
    assert str(PLAIN) == "transformer bfloat16, 11.25 GiB resident, text encoder bfloat16, attention cudnn"
    assert str(replace(PLAIN, compiled=True)).endswith("attention cudnn, blocks compiled")
    assert str(replace(PLAIN, compiled=True, relaxed=True, fused_heads=True)).endswith("compiled, relaxed, fused heads")
    assert str(replace(PLAIN, compiling=True, batched_cfg=True, graphs=0)).endswith(
        "blocks are being compiled, branches as one batch, graphs of small images"
    )


def test_branches_that_a_measurement_decides_about() -> None:
    assert str(replace(PLAIN, batched_cfg="auto")).endswith("attention cudnn, branches as one batch where it gains")


def test_files_are_told_unless_they_are_folders() -> None:
    formats = {"transformer": "safetensors F8_E4M3", "text_encoder": "folder BF16", "vae": "safetensors F32"}
    assert str(replace(PLAIN, formats=formats)) == (
        "transformer bfloat16 from safetensors F8_E4M3, 11.25 GiB resident, text encoder bfloat16, "
        "VAE from safetensors F32, attention cudnn"
    )


@pytest.mark.parametrize(
    "engaged",
    [
        replace(PLAIN, layers={"bfloat16": 9, "nf4/bitsandbytes": 9}),
        replace(PLAIN, encoder_layers={"int8/bitsandbytes": 9}),
        replace(PLAIN, encoder_place="host"),
        replace(PLAIN, host_gib=1.0),
        replace(PLAIN, tables=True),
        replace(PLAIN, batched_cfg=True),
        replace(PLAIN, formats={"transformer": "GGUF Q8_0"}),
    ],
)
def test_only_resident_weights_of_one_dtype_are_plain(engaged: Engaged) -> None:
    assert PLAIN.plain
    assert replace(PLAIN, formats={"transformer": "folder BF16"}).plain
    assert not engaged.plain
