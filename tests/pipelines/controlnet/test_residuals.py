from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from pipelines.controlnet.residuals import ControlResiduals, control_residuals, depth_scales
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.request import ControlUse
from tests.control import deeper
from tests.pipelines.controlnet.renders import HEIGHT, WIDTH, drawn, picture, use


class Recording(torch.nn.Module):
    """A transformer that records the ControlNet residuals of each forward."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.config = transformer.config
        self.added: list[list[torch.Tensor] | None] = []

    def forward(self, **inputs: Any) -> Any:
        self.added.append(inputs["controlnet_block_samples"])
        return self.transformer(**inputs)


def recorded(model: LoadedModel, *controls: ControlUse, **options: Any) -> list[list[torch.Tensor] | None]:
    recording = Recording(model.checkpoint.transformer)
    checkpoint = replace(model.checkpoint, transformer=cast("Any", recording))
    drawn(LoadedModel(checkpoint, memory=model.memory), *controls, **options)
    return recording.added


class TestModes:
    def test_balanced_adds_the_same_to_both_branches(self, model: LoadedModel, folder: Path) -> None:
        cond, uncond = recorded(model, use(folder), steps=1)
        assert cond is uncond is not None

    def test_controlnet_adds_to_the_conditional_branch_only(self, model: LoadedModel, folder: Path) -> None:
        (balanced, _), (cond, uncond) = (
            recorded(model, use(folder, mode=mode), steps=1) for mode in ("balanced", "controlnet")
        )
        assert uncond is None
        assert same(cond, balanced)

    def test_without_guidance_controlnet_is_balanced(self, model: LoadedModel, folder: Path) -> None:
        modes = (use(folder, mode="balanced"), use(folder, mode="controlnet"))
        assert torch.equal(*(drawn(model, use, true_cfg_scale=1.0) for use in modes))

    def test_prompt_weakens_the_first_blocks_most(self, model: LoadedModel, folder: Path) -> None:
        (balanced, _), (cond, uncond) = (
            recorded(model, use(folder, 3, mode=mode), steps=1) for mode in ("balanced", "prompt")
        )
        assert cond is uncond
        assert cond is not None
        assert balanced is not None
        ratios = [float((soft / full).mean()) for soft, full in zip(cond, balanced, strict=True)]
        assert ratios == pytest.approx([0.1, 0.1, 10**-0.5, 10**-0.5, 1.0], rel=1e-4)

    def test_thirteen_residuals_are_scaled_as_in_the_first_controlnet(self) -> None:
        softly = depth_scales(13)
        assert softly == pytest.approx([0.825 ** (12 - i) for i in range(13)], rel=0.006)

    def test_mixed_modes_are_told_apart(self, model: LoadedModel, folder: Path) -> None:
        mixed = (use(folder, 2), use(folder, 3, mode="controlnet"))
        cond, uncond = recorded(model, *mixed, steps=1)
        assert same(cond, recorded(model, use(folder, 2), use(folder, 3), steps=1)[0])
        assert same(uncond, recorded(model, use(folder, 2), steps=1)[0])


class TestResiduals:
    def test_runs_of_equal_length_and_their_sum(self, model: LoadedModel, folder: Path) -> None:
        two, three, both = (
            recorded(model, *controls, steps=1)[0]
            for controls in (
                (use(folder, 2),),
                (use(folder, 3, "slope"),),
                (use(folder, 2), use(folder, 3, "slope")),
            )
        )
        assert two is not None
        assert three is not None
        assert both is not None
        assert [id(sample) for sample in two] == [id(two[0])] * 3 + [id(two[3])] * 2
        assert [id(sample) for sample in three] == [id(three[0])] * 2 + [id(three[2])] * 2 + [id(three[4])]
        for a, b, total in zip(two, three, both, strict=True):
            assert torch.equal(a + b, total)

    def test_reference_tokens_get_zeros(self, model: LoadedModel, folder: Path) -> None:
        references = (picture(folder, "slope"),)
        added, _ = recorded(model, use(folder), mode="edit", references=references, steps=1)
        assert added is not None
        own = WIDTH // 16 * HEIGHT // 16
        for sample in added:
            assert sample[:, own:].shape[1] > 0
            assert not sample[:, own:].any()
            assert sample[:, :own].any()

    def test_no_more_residuals_than_blocks_are_used(self, checkpoint: Checkpoint, folder: Path) -> None:
        shallow = LoadedModel(deeper(checkpoint, 2))
        added, _ = recorded(shallow, use(folder, 3), steps=1)
        assert added is not None
        assert len(added) == 2
        assert not torch.equal(added[0], added[1])

    def test_without_controls_there_are_none(self) -> None:
        nothing = torch.zeros(0)
        none = control_residuals(
            (), 0, sample=nothing, timestep=nothing, embeds=nothing, shape=(1, 1, 1), blocks=5, appended=0
        )
        assert none == ControlResiduals(None, None)

    @pytest.mark.parametrize(("start", "end"), [(0, 1), (1, 3), (2, 50)])
    def test_a_net_is_added_inside_its_window_only(
        self, model: LoadedModel, folder: Path, start: int, end: int
    ) -> None:
        added = recorded(model, use(folder, start=start, end=end), steps=4)
        acting = [step for step in range(4) if added[2 * step] is not None]
        assert acting == list(range(start, min(end, 4)))


def same(one: list[torch.Tensor] | None, other: list[torch.Tensor] | None) -> bool:
    return one is not None and other is not None and all(map(torch.equal, one, other))
