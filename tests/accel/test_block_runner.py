"""The block runner against the transformer's own forward."""

import copy
from typing import Any

import pytest
import torch

from accel.block_runner import BlockRunner
from tests.accel.inputs import DEPTH, NOISE_TOKENS, WIDTH, full_forward, make_inputs


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def typed(request: pytest.FixtureRequest, transformer: Any) -> Any:
    return copy.deepcopy(transformer).to(request.param)


@pytest.mark.parametrize("controls", [0, 1, 2, 5])
@pytest.mark.parametrize("references", [False, True])
def test_a_run_over_all_blocks_is_the_forward_bit_for_bit(typed: Any, references: bool, controls: int) -> None:
    inputs = make_inputs(references=references, controls=controls)
    residuals = [each.to(typed.dtype) for each in inputs.residuals] if inputs.residuals else None
    tokens, embeds = inputs.tokens.to(typed.dtype), inputs.embeds("cond").to(typed.dtype)
    time = torch.tensor([0.5], dtype=typed.dtype)
    with torch.inference_mode():
        expected = typed(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=embeds,
            encoder_hidden_states_mask=None,
            img_shapes=[inputs.shapes],
            controlnet_block_samples=residuals,
            return_dict=False,
        )[0]
        runner = BlockRunner(typed, tokens, time, embeds, inputs.shapes, lambda: residuals)
        runner.run_to(2)
        runner.run_to(runner.depth)
        assert torch.equal(runner.output(), expected[:, :NOISE_TOKENS])


@torch.inference_mode()
@pytest.mark.parametrize("position", [0, 3, DEPTH])
def test_skipping_with_the_hidden_states_of_a_run_gives_its_output(transformer: Any, position: int) -> None:
    inputs = make_inputs(references=True)
    ahead, runner = inputs.runner(transformer), inputs.runner(transformer)
    ahead.run_to(position)
    runner.skip_to(position, ahead.image, ahead.text)
    assert runner.position == position
    runner.run_to(DEPTH)
    assert torch.equal(runner.output(), full_forward(transformer, inputs))


@torch.inference_mode()
def test_after_the_last_block_only_the_image_is_read(transformer: Any) -> None:
    inputs = make_inputs()
    ahead, runner = inputs.runner(transformer), inputs.runner(transformer)
    ahead.run_to(DEPTH)
    runner.skip_to(DEPTH, ahead.image)
    assert torch.equal(runner.output(), full_forward(transformer, inputs))
    assert torch.equal(runner.text, inputs.runner(transformer).text)


@torch.inference_mode()
def test_the_block_residual_is_what_the_blocks_add_to_the_noise_tokens(transformer: Any) -> None:
    inputs = make_inputs(references=True)
    runner = inputs.runner(transformer)
    assert torch.equal(runner.block_residual(), torch.zeros(1, NOISE_TOKENS, WIDTH))
    before = runner.image
    runner.run_to(2)
    assert torch.equal(runner.block_residual(), (runner.image - before)[:, :NOISE_TOKENS])


@torch.inference_mode()
@pytest.mark.parametrize("references", [False, True])
def test_the_modulated_input_is_what_the_first_attention_receives(transformer: Any, references: bool) -> None:
    seen: list[torch.Tensor] = []
    attention = transformer.transformer_blocks[0].attn
    handle = attention.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["hidden_states"]), with_kwargs=True
    )
    inputs = make_inputs(references=references)
    inputs.runner(transformer).run_to(1)
    handle.remove()
    assert torch.equal(inputs.runner(transformer).modulated_input(), seen[0][:, :NOISE_TOKENS])


def test_a_block_of_another_model_has_no_modulated_input(transformer: Any) -> None:
    other = copy.deepcopy(transformer)
    other.transformer_blocks[0] = torch.nn.Identity()
    with pytest.raises(TypeError, match="Identity is not a transformer block of Qwen-Image"):
        make_inputs().runner(other).modulated_input()


@torch.inference_mode()
def test_controlnets_run_once_and_only_where_a_block_does(transformer: Any) -> None:
    calls: list[int] = []

    def residuals() -> list[torch.Tensor]:
        calls.append(1)
        return [torch.zeros(1, NOISE_TOKENS, WIDTH)]

    inputs = make_inputs()
    time, embeds = torch.tensor([inputs.time]), inputs.embeds("cond")
    runner = BlockRunner(transformer, inputs.tokens, time, embeds, inputs.shapes, residuals)
    runner.modulated_input()
    runner.run_to(0)
    assert not calls
    runner.run_to(DEPTH)
    assert len(calls) == 1


def test_latents_are_the_noise_tokens_as_given(transformer: Any) -> None:
    inputs = make_inputs(references=True)
    assert torch.equal(inputs.runner(transformer).latents, make_inputs().tokens)


def test_the_layout_differs_with_the_grids_and_the_words(transformer: Any) -> None:
    inputs, edit = make_inputs(), make_inputs(references=True)
    layout = inputs.runner(transformer).layout
    assert layout == make_inputs(moved=1.0).runner(transformer, "uncond").layout
    assert layout != edit.runner(transformer).layout
    shorter = inputs.embeds("cond")[:, :-1]
    assert layout != BlockRunner(transformer, inputs.tokens, torch.tensor([0.5]), shorter, inputs.shapes).layout


@torch.inference_mode()
@pytest.mark.parametrize("references", [False, True])
@pytest.mark.parametrize("controls", [0, 2])
def test_what_comes_after_a_block_sees_its_output_and_changes_the_noise_tokens_only(
    transformer: Any, references: bool, controls: int
) -> None:
    inputs = make_inputs(references=references, controls=controls)
    seen: list[torch.Tensor] = []
    behind: list[torch.Tensor] = []

    def after_block(number: int, image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return image * (0.1 * number)

    def output(_: Any, __: Any, streams: Any) -> Any:
        text, image = streams
        behind.append(image[:, :NOISE_TOKENS])
        added = image[:, :NOISE_TOKENS] * (0.1 * (len(behind) - 1))
        return text, torch.cat([image[:, :NOISE_TOKENS] + added, image[:, NOISE_TOKENS:]], dim=1)

    runner = BlockRunner(
        transformer,
        inputs.tokens,
        torch.tensor([0.5]),
        inputs.embeds("cond"),
        inputs.shapes,
        lambda: inputs.residuals,
        after_block=after_block,
    )
    runner.run_to(DEPTH)
    handles = [block.register_forward_hook(output) for block in transformer.transformer_blocks]
    expected = full_forward(transformer, inputs)
    for handle in handles:
        handle.remove()
    assert len(seen) == DEPTH
    torch.testing.assert_close(seen, behind)
    torch.testing.assert_close(runner.output(), expected)
    assert not torch.equal(runner.output(), full_forward(transformer, inputs))
