import json
import math
from typing import Any

import pytest

from pipelines.errors import LoraError
from pipelines.lora.alphas import read_alphas


def metadata(text: str) -> dict[str, str]:
    return {"lora_adapter_metadata": text}


def test_the_alpha_of_a_module_then_of_the_file_then_none() -> None:
    config = {
        "transformer.lora_alpha": 8,
        "transformer.alpha_pattern": {"^attn.to_q": 4},
        "transformer.use_rslora": False,
    }
    alphas = read_alphas(metadata(json.dumps(config)))
    assert alphas.scale("transformer_blocks.0.attn.to_q", 4, None) == 1.0
    assert alphas.scale("transformer_blocks.0.attn.to_k", 4, None) == 2.0
    assert alphas.scale("transformer_blocks.0.attn.to_q", 4, 16.0) == 4.0
    assert read_alphas({}).scale("img_in", 4, None) == 1.0


def test_a_rank_stabilized_alpha() -> None:
    assert read_alphas(metadata('{"lora_alpha": 8, "use_rslora": true}')).scale("img_in", 4, None) == 8 / math.sqrt(4)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[]",
        "nonsense",
        '{"lora_alpha": NaN}',
        '{"lora_alpha": 1e999}',
        '{"lora_alpha": 1' + "0" * 400 + "}",
        '{"lora_alpha": ' + "1" * 5000 + "}",
        '{"alpha_pattern": {"a": "x"}}',
    ],
    ids=lambda text: str(text)[:20],
)
def test_metadata_that_cannot_be_used(text: Any) -> None:
    with pytest.raises(LoraError, match="its metadata cannot be read"):
        read_alphas(metadata(text))
