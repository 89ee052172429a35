"""Blockwise nets against DiffSynth-Studio's arithmetic, written out here from the tensors of the file alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file

from pipelines.catalog.catalog import Mode
from pipelines.controlnet.blockwise import BlockwiseControl, blockwise_residuals
from pipelines.controlnet.residuals import Control
from pipelines.models.checkpoint import LoadedModel
from pipelines.request import ControlMode, ControlUse
from tests.control import save_blockwise
from tests.pipelines.controlnet.renders import HEIGHT, WIDTH, begun, drawn, picture, use

CLOSE = 1e-4  # float32, with the sums in another order


@pytest.fixture(scope="module")
def uses(model: LoadedModel, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ControlUse]:
    made = tmp_path_factory.mktemp("blockwise")
    files = [save_blockwise(model.checkpoint, made / f"{seed}.safetensors", seed) for seed in (1, 2)]
    return [
        ControlUse(f"net {n}", file, picture(folder, image))
        for n, (file, image) in enumerate(zip(files, ("rings", "slope"), strict=True))
    ]


@dataclass
class Written:
    """One net and its control latents [1, tokens, 64], in a branch of guidance where it acts in the given steps."""

    file: Path
    latents: torch.Tensor
    weight: float
    steps: range

    def residual(self, number: int, image: torch.Tensor) -> torch.Tensor:
        weights = load_file(self.file)
        block = f"controlnet_blocks.{number}."

        def norm(values: torch.Tensor, name: str) -> torch.Tensor:
            mean = (values * values).mean(dim=-1, keepdim=True)
            return values / (mean + 1e-6).sqrt() * weights[block + name]

        def linear(values: torch.Tensor, name: str) -> torch.Tensor:
            return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

        hidden = linear(
            norm(image, "x_rms.weight") + norm(linear(self.latents, "img_in"), "y_rms.weight"), f"{block}input_proj"
        )
        active = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        return self.weight * linear(active, f"{block}output_proj")


def diffusers_with(
    model: LoadedModel, written: Sequence[Written], state: Any, steps: int, scale: float
) -> torch.Tensor:
    """The latents of diffusers' own pipeline, with the written nets behind the blocks of both branches."""
    checkpoint = model.checkpoint
    pipe: Any = QwenImagePipeline(
        scheduler=cast("Any", FlowMatchEulerDiscreteScheduler.from_config(dict(checkpoint.scheduler))),
        vae=cast("Any", None),  # the latents are compared
        text_encoder=checkpoint.text_encoder,
        tokenizer=checkpoint.tokenizer,
        transformer=checkpoint.transformer,
    )
    pipe.set_progress_bar_config(disable=True)
    calls = 0
    branches = 2 if scale > 1 else 1

    def hook(number: int) -> Any:
        def add(_: Any, __: Any, streams: Any) -> Any:
            nonlocal calls
            step = calls // (branches * len(blocks))
            calls += 1
            text, image = streams
            own = image.clone()
            for each in written:
                if step in each.steps:
                    image = image + each.residual(number, own)
            return text, image

        return add

    blocks = checkpoint.transformer.transformer_blocks
    handles = [block.register_forward_hook(hook(number)) for number, block in enumerate(blocks)]
    result = pipe(
        prompt_embeds=state.cond,
        negative_prompt_embeds=state.uncond,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=steps,
        true_cfg_scale=scale,
        latents=state.latents,
        output_type="latent",
    ).images
    for handle in handles:
        handle.remove()
    return result


CASES: list[list[dict[str, Any]]] = [
    [{}],
    [{"weight": -0.7, "start": 1}],
    [{"start": 1, "end": 2}],
    [{"weight": 0.7, "end": 2}, {"weight": 1.2, "start": 1}],
]


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("changes", CASES, ids=str)
def test_a_render_is_diffusers_with_the_written_nets(
    model: LoadedModel, folder: Path, uses: list[ControlUse], changes: list[dict[str, Any]], scale: float
) -> None:
    steps = 3
    changed = [replace(use, **{"end": steps, **change}) for use, change in zip(uses, changes, strict=False)]
    state = begun(model, *changed, steps=steps, true_cfg_scale=scale)
    written = []
    for each in changed:
        (other,) = begun(model, replace(use(folder), control_image=each.control_image)).controls
        assert isinstance(other, Control)
        written.append(Written(Path(each.weights), other.control_latents, each.weight, range(each.start, each.end)))
    expected = diffusers_with(model, written, state, steps, scale)
    torch.testing.assert_close(
        drawn(model, *changed, steps=steps, true_cfg_scale=scale), expected, rtol=CLOSE, atol=CLOSE
    )
    assert not torch.allclose(drawn(model, steps=steps, true_cfg_scale=scale), expected, rtol=CLOSE, atol=CLOSE)


def residual(
    model: LoadedModel, *uses: ControlUse, step: int = 0, block: int = 0, conditional: bool = True
) -> torch.Tensor:
    """What the nets add after a block to hidden states of ones; zeros without any."""
    controls = cast("tuple[BlockwiseControl, ...]", begun(model, *uses).controls)
    ones = torch.ones(1, WIDTH // 16 * HEIGHT // 16, 32)
    with torch.inference_mode():
        after_block = blockwise_residuals(controls, step, conditional=conditional)
        return torch.zeros_like(ones) if after_block is None else after_block(block, ones)


class TestModes:
    @pytest.mark.parametrize(("mode", "acts"), [("balanced", True), ("prompt", True), ("controlnet", False)])
    def test_the_unconditional_branch(
        self, model: LoadedModel, uses: list[ControlUse], mode: ControlMode, acts: bool
    ) -> None:
        changed = replace(uses[0], mode=mode)
        assert residual(model, changed).any()
        assert residual(model, changed, conditional=False).any() == acts

    def test_prompt_grows_with_the_depth(self, model: LoadedModel, uses: list[ControlUse]) -> None:
        plain, soft = uses[0], replace(uses[0], mode="prompt")
        ratios = [float((residual(model, soft, block=n) / residual(model, plain, block=n)).median()) for n in range(5)]
        assert ratios == pytest.approx([10 ** (n / 4 - 1) for n in range(5)], rel=1e-4)

    def test_the_window(self, model: LoadedModel, uses: list[ControlUse]) -> None:
        changed = replace(uses[0], start=1, end=2)
        assert [bool(residual(model, changed, step=n).any()) for n in range(3)] == [False, True, False]

    def test_several_are_added(self, model: LoadedModel, uses: list[ControlUse]) -> None:
        one, other = (residual(model, each) for each in uses)
        assert torch.equal(residual(model, *uses), one + other)


@pytest.mark.parametrize(("mode", "count"), [("text_to_image", 0), ("edit", 1), ("edit_plus", 2)])
def test_every_kind_of_model(
    any_model: LoadedModel, folder: Path, uses: list[ControlUse], mode: Mode, count: int
) -> None:
    references = (picture(folder, "slope"), picture(folder, "rings"))[:count]
    controlled, plain = (drawn(any_model, *controls, mode=mode, references=references) for controls in ((uses[0],), ()))
    assert controlled.shape == plain.shape
    assert not torch.equal(controlled, plain)


def test_beside_a_net_of_instantx(model: LoadedModel, folder: Path, uses: list[ControlUse]) -> None:
    both = drawn(model, uses[0], use(folder))
    for alone in ((uses[0],), (use(folder),)):
        assert not torch.equal(both, drawn(model, *alone))
    assert torch.equal(both, drawn(model, use(folder), uses[0]))
