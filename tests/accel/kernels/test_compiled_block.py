from typing import TYPE_CHECKING, cast

import pytest
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel, QwenImageTransformerBlock
from torch._inductor import config as inductor

from accel.block_forward import BlockForward, block_forward, compute_modulation, time_embedding
from accel.kernels.compiled_block import OPTIONS, CompiledBlocks, Kernels, compiled_graphs, forward_with_real_rotary
from accel.kernels.low_rank import LAYERS, BlockLowRank, zero_low_rank
from accel.rotary_embedding import RotaryEmbedding
from accel.weights.quantized.quantize import QuantizedPrecision, quantize

if TYPE_CHECKING:
    from accel.weights.quantized.base import AnyLinear

WIDTH = 32
SHAPES = (((8, 8), 5), ((8, 12), 9), ((6, 6), 20), ((16, 16), 7))  # grids of tokens, and words


def transformer_of(*, zero_cond_t: bool = False, dtype: torch.dtype = torch.float32) -> QwenImageTransformer2DModel:
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
        zero_cond_t=zero_cond_t,
    )
    torch.nn.Module.to(transformer, dtype).eval()
    return transformer


def rotary_of(transformer: QwenImageTransformer2DModel, grid: tuple[int, int], words: int) -> RotaryEmbedding:
    angles = transformer.pos_embed([[(1, *grid)]], max_txt_seq_len=words, device=torch.device("cpu"))
    return RotaryEmbedding(*angles)


@torch.inference_mode()
def differences(transformer: QwenImageTransformer2DModel, blocks: BlockForward) -> float:
    """The largest difference to `block_forward`, over shapes and blocks."""
    dtype = transformer.proj_out.weight.dtype
    largest = 0.0
    for (rows, columns), words in SHAPES:
        image = torch.randn(1, rows * columns, WIDTH, dtype=dtype)
        text = torch.randn(1, words, WIDTH, dtype=dtype)
        rotary = rotary_of(transformer, (rows, columns), words)
        embedding = time_embedding(transformer, torch.tensor([0.4], dtype=dtype))
        index = torch.arange(rows * columns).remainder(2)[None].int() if transformer.zero_cond_t else None
        for each in transformer.transformer_blocks:
            block = cast("QwenImageTransformerBlock", each)
            modulation = compute_modulation(block, embedding)
            found = blocks(block, image, text, modulation, rotary, index)
            expected = block_forward(block, image, text, modulation, rotary, index)
            largest = max(largest, *((a - b).abs().max().item() for a, b in zip(found, expected, strict=True)))
    return largest


@pytest.mark.slow
def test_references_that_count_as_clean() -> None:
    assert differences(transformer_of(zero_cond_t=True), CompiledBlocks("eager")) < 2e-6


def test_other_kernels_compute_the_same_where_none_rounds_less() -> None:
    kernels = Kernels(gelu_in_product=True, fused_heads=True)
    assert differences(transformer_of(), CompiledBlocks("eager", kernels)) < 2e-6


@pytest.mark.slow
def test_bfloat16_differs_by_its_rounding_only() -> None:
    assert differences(transformer_of(dtype=torch.bfloat16), CompiledBlocks("eager")) < 0.05


def test_one_graph_computes_what_the_separate_kernels_do_for_all_blocks_and_shapes() -> None:
    torch.compiler.reset()
    before = compiled_graphs()
    assert differences(transformer_of(), CompiledBlocks("eager")) < 2e-6
    assert compiled_graphs() == before + 1


@pytest.mark.parametrize(
    ("precision", "graphs"),
    [("fp8", 1), ("int8", 2), ("nf4", 1)],
)
@pytest.mark.slow
def test_quantized_blocks_are_compiled_too(precision: QuantizedPrecision, graphs: int) -> None:
    """int8 has a graph for few rows, which it pads."""
    torch.compiler.reset()
    transformer = transformer_of()
    quantize(transformer.transformer_blocks, precision)
    before = compiled_graphs()
    assert differences(transformer, CompiledBlocks("eager")) < 2e-6
    assert compiled_graphs() == before + graphs


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's own compiler
@pytest.mark.slow
def test_the_compiler_gives_the_same_function_in_one_graph_for_all_ranks() -> None:
    """The graph with additions has all that the graph without them has."""
    torch.compiler.reset()
    transformer, blocks, before = transformer_of(), CompiledBlocks(), compiled_graphs()
    for least in (40, 8, 64, 1000):
        added = {
            block: ranks_of(block, least, number) for number, block in enumerate(transformer.transformer_blocks, 1)
        }
        assert differences(transformer, blocks.with_low_rank(added)) < 2e-6  # of nothing, whatever its rank
        assert compiled_graphs() == before + 1


def ranks_of(block: torch.nn.Module, least: int, step: int) -> BlockLowRank:
    like, linears = torch.ones(1), [cast("AnyLinear", block.get_submodule(name)) for name in LAYERS]
    additions = [zero_low_rank(e.in_features, e.out_features, least + n * step, like) for n, e in enumerate(linears)]
    return dict(zip(LAYERS, additions, strict=True))


def test_the_compiler_knows_its_options() -> None:
    assert OPTIONS.keys() <= inductor.get_config_copy().keys()


def test_float16_stays_finite() -> None:
    transformer = transformer_of(dtype=torch.float16)
    block = cast("QwenImageTransformerBlock", transformer.transformer_blocks[0])
    rotary = rotary_of(transformer, (2, 2), 3)
    modulation = torch.ones(1, 6 * WIDTH, dtype=torch.float16)
    image, text = torch.full((1, 4, WIDTH), 6e4).half(), torch.full((1, 3, WIDTH), 6e4).half()
    with torch.inference_mode():
        strong = modulation * 3e4
        found = forward_with_real_rotary(block, image, text, strong, strong, (rotary.real,), None)
    assert all(torch.isfinite(each[~each.isnan()]).all() for each in found)
