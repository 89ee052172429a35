from pathlib import Path

from pipelines.models.formats.components.gguf_names import language_names, vision_weights
from pipelines.models.formats.containers.headers import TensorEntry
from pipelines.models.formats.scales import JoinedEntry


def entry(*shape: int) -> TensorEntry:
    return TensorEntry(Path("a.gguf"), "F32", shape, 0, 4)


def test_a_language_model() -> None:
    named = language_names({
        "token_embd.weight": entry(1), "output_norm.weight": entry(1), "output.weight": entry(1),
        "blk.11.attn_output.weight": entry(1), "blk.11.attn_q.bias": entry(1), "rope_freqs.weight": entry(1),
    })  # fmt: skip
    assert sorted(named) == [
        "model.language_model.embed_tokens.weight",
        "model.language_model.layers.11.self_attn.o_proj.weight",
        "model.language_model.layers.11.self_attn.q_proj.bias",
        "model.language_model.norm.weight",
        "rope_freqs.weight",
    ]


def test_a_vision_tower() -> None:
    split = {f"v.blk.3.attn_{letter}.weight": entry(4, 8) for letter in "vqk"}
    weights = vision_weights({
        "v.patch_embd.weight": entry(8, 3, 14, 14), "v.patch_embd.weight.1": entry(8, 3, 14, 14),
        "mm.0.bias": entry(8), "v.post_ln.weight": entry(8), "v.blk.3.ln2.weight": entry(8), **split,
    })  # fmt: skip
    assert {name: weight.shape for name, weight in weights.items()} == {
        "model.visual.patch_embed.proj.weight": (8, 3, 2, 14, 14),
        "model.visual.merger.mlp.0.bias": (8,),
        "model.visual.merger.ln_q.weight": (8,),
        "model.visual.blocks.3.norm2.weight": (8,),
        "model.visual.blocks.3.attn.qkv.weight": (12, 8),
    }
    joined = weights["model.visual.blocks.3.attn.qkv.weight"]
    assert isinstance(joined, JoinedEntry)
    assert [part.tensor for part in joined.parts] == [split[f"v.blk.3.attn_{letter}.weight"] for letter in "qkv"]
    assert joined.size == 12
