from dataclasses import replace

import pytest

from pipelines.models.engaged import Engaged, engaged_json

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


def test_as_json() -> None:
    assert engaged_json(ENGAGED)["layers"] == {"fp8/scaled_mm": 840}


@pytest.mark.parametrize(
    "engaged",
    [
        replace(PLAIN, layers={"bfloat16": 9, "nf4/bitsandbytes": 9}),
        replace(PLAIN, encoder_layers={"int8/bitsandbytes": 9}),
        replace(PLAIN, encoder_place="host"),
        replace(PLAIN, host_gib=1.0),
        replace(PLAIN, tables=True),
    ],
)
def test_only_resident_weights_of_one_dtype_are_plain(engaged: Engaged) -> None:
    assert PLAIN.plain
    assert not engaged.plain
