import gc
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import pytest
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel, QwenImageTransformerBlock
from torch import nn
from torch._inductor import config as inductor
from torch._inductor.custom_graph_pass import CustomSchedulerPass
from torch._inductor.utils import clear_caches, fresh_cache
from torch._inductor.virtualized import V

from accel.block_forward import BlockForward, block_forward, compute_modulation, time_embedding
from accel.kernels.compiled_block import (
    OPTIONS,
    SEPARATE,
    CompiledBlocks,
    Kernels,
    compiled_graphs,
    forward_with_real_rotary,
    read_graphs,
)
from accel.kernels.low_rank import LAYERS, BlockLowRank, zero_low_rank
from accel.rotary_embedding import RotaryEmbedding
from accel.weights.quantized.quantize import QuantizedPrecision, quantize
from tests.compiled import UntracedBlocks

if TYPE_CHECKING:
    from torch._inductor.scheduler import BaseSchedulerNode

    from accel.weights.quantized.base import AnyLinear

WIDTH = 32
# The names of operators in the kernels that the compiler makes, and of the dtype of FP8.
NORM, MODULATION, GELU = "aten.var_mean.correction", "aten.split.Tensor", "aten.tanh.default"
LARGEST, FP8 = "aten.amax.default", "torch.float8_e4m3fn"
OUTPUT = "output"  # of the graph
OTHERS = Kernels(gelu_in_product=True, fused_heads=True)
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
def outputs(transformer: QwenImageTransformer2DModel, blocks: BlockForward) -> list[torch.Tensor]:
    """The text and the image after each block, for each shape, from the same inputs in each call."""
    dtype, generator = transformer.proj_out.weight.dtype, torch.Generator().manual_seed(0)
    found: list[torch.Tensor] = []
    for (rows, columns), words in SHAPES:
        image = torch.randn(1, rows * columns, WIDTH, generator=generator).to(dtype)
        text = torch.randn(1, words, WIDTH, generator=generator).to(dtype)
        rotary = rotary_of(transformer, (rows, columns), words)
        embedding = time_embedding(transformer, torch.tensor([0.4], dtype=dtype))
        index = torch.arange(rows * columns).remainder(2)[None].int() if transformer.zero_cond_t else None
        for each in transformer.transformer_blocks:
            block = cast("QwenImageTransformerBlock", each)
            found += blocks(block, image, text, compute_modulation(block, embedding), rotary, index)
    return found


def largest(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))


def differences(transformer: QwenImageTransformer2DModel, blocks: BlockForward) -> float:
    """The largest difference to `block_forward`, over shapes and blocks."""
    return largest(outputs(transformer, blocks), outputs(transformer, block_forward))


@pytest.mark.parametrize(
    ("zero_cond_t", "dtype", "precision", "kernels", "rounding"),
    [
        (False, torch.float32, None, SEPARATE, 2e-6),
        (False, torch.float32, None, OTHERS, 2e-6),
        (True, torch.float32, None, SEPARATE, 2e-6),
        (False, torch.bfloat16, None, SEPARATE, 0.05),
        *((False, torch.float32, precision, SEPARATE, 2e-6) for precision in get_args(QuantizedPrecision)),
    ],
    ids=str,
)
def test_the_function_of_the_graph_computes_what_the_separate_kernels_do(
    zero_cond_t: bool, dtype: torch.dtype, precision: QuantizedPrecision | None, kernels: Kernels, rounding: float
) -> None:
    transformer = transformer_of(zero_cond_t=zero_cond_t, dtype=dtype)
    if precision is not None:
        quantize(transformer.transformer_blocks, precision)
    assert differences(transformer, UntracedBlocks(kernels=kernels)) < rounding


@pytest.mark.parametrize("kernels", [SEPARATE, pytest.param(OTHERS, marks=pytest.mark.slow)], ids=str)
def test_one_graph_computes_it_for_all_blocks_and_shapes(kernels: Kernels) -> None:
    torch.compiler.reset()
    before = compiled_graphs()
    assert differences(transformer_of(), CompiledBlocks("eager", kernels)) < 2e-6
    assert compiled_graphs() == before + 1


@pytest.mark.parametrize(("precision", "graphs"), [("int8", 2), ("nf4", 1)])
@pytest.mark.slow
def test_quantized_blocks_are_compiled_too(precision: QuantizedPrecision, graphs: int) -> None:
    """int8 has a graph for few rows, which it pads.

    Further layers would make the graph larger, in the same way: these are multiplied together and have few rows. FP8 is
    in the graph of the test below.
    """
    torch.compiler.reset()
    transformer = transformer_of()
    quantize(transformer.transformer_blocks, precision, skip=lambda name: "attn.add_" not in name)
    before = compiled_graphs()
    assert differences(transformer, CompiledBlocks("eager")) < 2e-6
    assert compiled_graphs() == before + graphs


class SeenKernels(CustomSchedulerPass):
    """The operators of each kernel that the compiler makes, without products and attention, which are libraries."""

    def __init__(self) -> None:
        self.operators: list[set[str]] = []

    def __call__(self, nodes: "list[BaseSchedulerNode]") -> "list[BaseSchedulerNode]":
        returned = set(V.graph.get_output_names())
        for node in nodes:
            if not node.is_extern():
                self.operators.append(operators_of(node) | ({OUTPUT} if node.get_buffer_names() & returned else set()))
        return nodes

    def uuid(self) -> str:
        return __name__  # without one, the compiler would keep no files

    def of(self, operator: str) -> list[set[str]]:
        return [kernel for kernel in self.operators if operator in kernel]


def operators_of(kernel: "BaseSchedulerNode") -> set[str]:
    """The names of the operators that a kernel computes, and of the dtypes that they are given."""
    origins = [origin for part in kernel.get_nodes() if part.node is not None for origin in part.node.get_origins()]
    named = [each for origin in origins for each in (origin.target, *origin.args)]
    return {str(each) for each in named if isinstance(each, torch.dtype | torch._ops.OpOverload)}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's own compiler
@pytest.mark.slow
def test_the_compiler_gives_the_same_function_in_one_graph_for_all_ranks(tmp_path: Path) -> None:
    """The graph with additions has all that the graph without them has. The MLP of the text is in FP8.

    One test, because it takes long: a second start reads what the first one has compiled, the kernels are those of
    docs/explanation/speed.md, and no graph keeps the weights of its blocks.
    """
    transformer, kernels = transformer_of(), SeenKernels()
    quantize(nn.ModuleList(block.get_submodule("txt_mlp") for block in transformer.transformer_blocks), "fp8")
    expected, traced = outputs(transformer, block_forward), torch._dynamo.utils.counters["aot_autograd"]
    before = traced["total"]
    # Without vectors, no program is compiled to find out which ones the processor has. One thread needs no processes.
    options = {"_post_fusion_custom_pass": kernels, "cpp.vec_isa_ok": False, "compile_threads": 1}
    with fresh_cache(dir=str(tmp_path)), inductor.patch(options):
        first, graphs, read = start_and_run(transformer, expected)
        assert (graphs, read) == (1, 0)
        made = kernels.operators.copy()
        second, graphs, read = start_and_run(transformer, expected)
        assert (graphs, read) == (1, 1)
    assert traced["total"] == before + 2  # the graph once in each start
    assert kernels.operators == made  # the second start has made none
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    left = weakref.ref(transformer.transformer_blocks[0]), weakref.ref(transformer.proj_out.weight)
    del transformer
    gc.collect()
    assert [each() for each in left] == [None, None]

    norms, gates = kernels.of(NORM), [kernel for kernel in kernels.of(MODULATION) if NORM not in kernel]
    assert len(norms) == 4  # each one is in one kernel,
    assert all(MODULATION in norm for norm in norms)  # with its scale and shift, and the gates and residuals before it,
    assert [OUTPUT in gate for gate in gates] == [True, True]  # so that the only others are the last ones of the block
    quantizations = kernels.of(FP8)
    assert [LARGEST in kernel for kernel in quantizations] == [True, True]
    assert sorted((NORM in kernel, GELU in kernel) for kernel in quantizations) == [(False, True), (True, False)]


def start_and_run(
    transformer: QwenImageTransformer2DModel, expected: list[torch.Tensor]
) -> tuple[list[torch.Tensor], int, int]:
    """What new compiled blocks give, and the numbers of graphs that were compiled and read for it."""
    torch.compiler.reset()
    clear_caches()  # of this process: what is in its folder stays
    blocks, graphs, read = CompiledBlocks(), compiled_graphs(), read_graphs()
    found: list[torch.Tensor] = []
    for least in (40, 8, 64, 1000):
        added = {
            block: ranks_of(block, least, number) for number, block in enumerate(transformer.transformer_blocks, 1)
        }
        found = outputs(transformer, blocks.with_low_rank(added))  # of nothing, whatever its rank
        assert largest(found[1::2], expected[1::2]) < 2e-6
        assert largest(found[::2], expected[::2]) < 0.05  # of the text: a value may round to the next one in FP8
    return found, compiled_graphs() - graphs, read_graphs() - read


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
