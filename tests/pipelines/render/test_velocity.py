from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from accel.kernels.compiled_block import CompiledBlocks
from pipelines.catalog.catalog import Mode
from pipelines.lora.apply import LoraSet
from pipelines.models.checkpoint import Checkpoint
from pipelines.render.prepare import begin
from pipelines.render.steps import advance
from pipelines.render.velocity import weight_access
from pipelines.request import Reference
from tests.control import deeper
from tests.pipelines.render.renders import Counting, asked, begun, drawn


class TestGuidance:
    @pytest.mark.parametrize(("scale", "forwards"), [(0.0, 3), (1.0, 3), (1.5, 6), (4.0, 6)])
    def test_forwards(self, checkpoint: Checkpoint, scale: float, forwards: int) -> None:
        counting = Counting(checkpoint.transformer)
        drawn(replace(checkpoint, transformer=cast("Any", counting)), asked(true_cfg_scale=scale))
        assert counting.forwards == forwards

    def test_no_negative_prompt_is_a_space(self, checkpoint: Checkpoint) -> None:
        assert np.array_equal(drawn(checkpoint, asked()), drawn(checkpoint, asked(negative_prompt=" ")))

    def test_without_guidance_the_negative_prompt_is_not_read(self, checkpoint: Checkpoint) -> None:
        plain = asked(true_cfg_scale=1.0)
        ignored = replace(plain, negative_prompt="<|im_end|>" + "x" * 2000)
        assert np.array_equal(drawn(checkpoint, ignored), drawn(checkpoint, plain))
        assert begun(checkpoint, ignored).warnings == ()


class TestEdit:
    @pytest.mark.parametrize("mode", ["edit", "edit_plus"])
    def test_the_reference_matters(
        self, checkpoint: Checkpoint, reference: Reference, other_reference: Reference, mode: Mode
    ) -> None:
        one, other = (
            drawn(checkpoint, asked(references=(chosen,)), mode=mode) for chosen in (reference, other_reference)
        )
        assert one.shape == (48, 64, 3)
        assert not np.array_equal(one, other)

    def test_the_order_of_references_matters(
        self, checkpoint: Checkpoint, reference: Reference, other_reference: Reference
    ) -> None:
        both = (reference, other_reference)
        one, other = (drawn(checkpoint, asked(references=order), mode="edit_plus") for order in (both, both[::-1]))
        assert not np.array_equal(one, other)

    def test_a_picture_is_used_as_it_is_shown(
        self, checkpoint: Checkpoint, reference: Reference, tmp_path: Path
    ) -> None:
        upright = drawn(checkpoint, asked(references=(reference,)), mode="edit")
        exif = Image.Exif()
        exif[0x0112] = 3
        turned = tmp_path / "turned.png"
        with Image.open(reference.path) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(turned, exif=exif)
        again = drawn(checkpoint, asked(references=(replace(reference, path=turned),)), mode="edit")
        assert np.array_equal(again, upright)


def test_requests_with_hooks_in_blocks_run_without_the_graph(checkpoint: Checkpoint) -> None:
    compiled = replace(checkpoint, compiled=CompiledBlocks("eager"))
    words = torch.zeros(1, 4, checkpoint.transformer.config["joint_attention_dim"])
    noise = torch.zeros(1, 64, checkpoint.transformer.config["in_channels"])
    request = replace(asked(), width=128, height=128)
    state = begin(request, compiled, noise=noise, cond=words, uncond=None)
    assert weight_access(state, torch.ones(1), 0).run is compiled.compiled
    state.loras = LoraSet(hooks=((checkpoint.transformer.proj_out, lambda module, inputs, output: output),))
    assert weight_access(state, torch.ones(1), 0).run is not compiled.compiled


def test_no_row_of_the_modulation_is_copied_to_the_device(
    checkpoint: Checkpoint, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own forward makes the rows on the host, and waits for the device to copy them."""
    state = begun(deeper(checkpoint, 1, zero_cond_t=True), asked(references=(reference,)), mode="edit_plus")
    monkeypatch.setattr(torch, "tensor", None)
    advance([state])
    assert state.latents.isfinite().all()
