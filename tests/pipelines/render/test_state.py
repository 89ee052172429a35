from dataclasses import replace

from accel.kernels.compiled_block import CompiledBlocks
from pipelines.lora.apply import CompiledLoras, LoraSet
from pipelines.models.checkpoint import Checkpoint
from tests.pipelines.render.renders import asked, begun


def test_there_is_a_step_between_two_sigmas(checkpoint: Checkpoint) -> None:
    state = begun(checkpoint, asked(steps=4))
    assert (state.step, state.total, len(state.sigmas)) == (0, 4, 5)


def test_compiled_blocks_run_without_hooks_or_with_what_replaces_them(checkpoint: Checkpoint) -> None:
    compiled = CompiledBlocks("eager")
    state = begun(replace(checkpoint, compiled=compiled), asked())
    assert state.compiled is compiled
    hooks = ((checkpoint.transformer.proj_out, lambda module, inputs, output: output),)
    state.loras = LoraSet(hooks=hooks)
    assert state.compiled is None
    state.loras = LoraSet(hooks=hooks, low_rank=CompiledLoras({}, ()))
    assert state.compiled is not None
    assert state.compiled is not compiled
    assert begun(checkpoint, asked()).compiled is None
