"""Tables of the modulation against the modulation layers, and forwards with them against the transformer's own."""

import copy
from typing import Any

import pytest
import torch

from accel.block_forward import compute_modulation, time_embedding
from accel.block_runner import BlockRunner, WeightAccess
from accel.weights.modulation_tables import ModulationTable, make_table
from accel.weights.placement import HostShare, place_transformer
from tests.accel.inputs import NOISE_TOKENS, make_inputs
from tests.accel.weights.fake_device import FakeEngine

TIMES = (1.0, 0.75, 0.5, 0.02)


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def typed(request: pytest.FixtureRequest, transformer: Any) -> Any:
    return copy.deepcopy(transformer).to(request.param)


def tables(transformer: Any, times: tuple[float, ...] = TIMES) -> ModulationTable:
    placement = place_transformer(transformer, torch.device("cpu"), HostShare(tables=True), engine=FakeEngine())
    assert placement.modulation is not None
    timesteps = [torch.tensor([time], dtype=transformer.dtype) for time in times]
    with torch.inference_mode():
        return make_table(transformer, timesteps, placement.modulation)


def test_each_value_has_the_bits_of_the_modulation_layers(typed: Any) -> None:
    table = tables(copy.deepcopy(typed))
    for time in TIMES:
        timestep = torch.tensor([time], dtype=typed.dtype)
        step = table.steps[float(timestep)]
        for number, block in enumerate(typed.transformer_blocks):
            with torch.inference_mode():
                computed = compute_modulation(block, time_embedding(typed, timestep))
            assert torch.equal(step.block(number).image, computed.image)
            assert torch.equal(step.block(number).text, computed.text)


@pytest.mark.parametrize("references", [False, True])
def test_a_forward_with_a_table_is_the_transformers_own_bit_for_bit(typed: Any, references: bool) -> None:
    inputs = make_inputs(TIMES[1], references=references, controls=2)
    residuals = [each.to(typed.dtype) for each in inputs.residuals or ()]
    tokens, embeds = inputs.tokens.to(typed.dtype), inputs.embeds("cond").to(typed.dtype)
    timestep = torch.tensor([TIMES[1]], dtype=typed.dtype)
    table, ours = tables(copy.deepcopy(typed)), copy.deepcopy(typed)
    for block in ours.transformer_blocks:  # whoever asked them would fail
        block.img_mod = block.txt_mod = None
    with torch.inference_mode():
        expected = typed(
            hidden_states=tokens,
            timestep=timestep,
            encoder_hidden_states=embeds,
            encoder_hidden_states_mask=None,
            img_shapes=[inputs.shapes],
            controlnet_block_samples=residuals,
            return_dict=False,
        )[0]
        access = WeightAccess(modulation=lambda: table.steps[float(timestep)])
        runner = BlockRunner(ours, tokens, timestep, embeds, inputs.shapes, lambda: residuals, access)
        watched = runner.modulated_input()
        runner.run_to(runner.depth)
        assert torch.equal(runner.output(), expected[:, :NOISE_TOKENS])
        plain = BlockRunner(typed, tokens, timestep, embeds, inputs.shapes)
        assert torch.equal(watched, plain.modulated_input())


def test_timesteps_that_round_alike_share_a_row(typed: Any) -> None:
    close = (0.5, 0.5 + 1e-9, 0.25)
    assert len(tables(copy.deepcopy(typed), close).steps) == 2


def test_the_layers_leave_the_device_when_the_table_is_made(transformer: Any) -> None:
    engine, model = FakeEngine(), copy.deepcopy(transformer)
    placement = place_transformer(model, torch.device("cpu"), HostShare(tables=True), engine=engine)
    assert placement.modulation is not None
    with torch.inference_mode():
        make_table(model, [torch.tensor([time]) for time in TIMES], placement.modulation)
    assert len(engine.copies) == len(model.transformer_blocks)  # each block once, for all timesteps
    assert not engine.overwritten_while_read()
    assert not placement.modulation._slots


def test_a_step_on_its_own_device_is_not_copied(transformer: Any) -> None:
    step = next(iter(tables(copy.deepcopy(transformer)).steps.values()))
    assert step.to(torch.device("cpu")).image.data_ptr() == step.image.data_ptr()
