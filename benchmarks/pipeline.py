"""Compares our denoising loop with diffusers' pipelines: the same weights and the same request, in turns.

    python -m benchmarks.pipeline [--device cuda] [--full-size] [--repeats 7] [--minutes 8] [--only NAME] [--out FILE]

Weights and prompt embeddings are random, so nothing is downloaded and the text encoder is not measured. Each side
scales and encodes the references, denoises, and decodes, with its own VAE code. `--full-size` takes the real models'
dimensions (41 GB in bfloat16). The requests are the rows of `scenarios.toml`. Prints a table and appends one JSON line
for each request.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from diffusers.pipelines.qwenimage import (
    pipeline_qwenimage_controlnet,
    pipeline_qwenimage_edit,
    pipeline_qwenimage_edit_plus,
    pipeline_qwenimage_img2img,
    pipeline_qwenimage_inpaint,
)
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from benchmarks.random_models import NEGATIVE_TOKENS, PROMPT_TOKENS, SEED, TRUE_CFG_SCALE, ModelSize, RandomModels
from benchmarks.runs.command import Command
from benchmarks.runs.peak_memory import peak_mib
from benchmarks.scenarios import Scenario, load_scenarios
from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.conditioning import encode_picture, encode_references
from pipelines.controlnet.residuals import Control
from pipelines.editing.canvas import Canvas
from pipelines.latents import grid
from pipelines.models.checkpoint import LoadedModel
from pipelines.render.prepare import begin
from pipelines.render.steps import advance, finish
from pipelines.request import Reference, RenderRequest, Sampler
from pipelines.sizes import scaled_size

# `begin` is given a seed image's latents, so it only asks whether there is one.
_UNREAD = Reference(Path(), "", 1, 1)
# By `start` for text to image, else by `mode`.
_PIPELINES: dict[str, Any] = {
    "noise": QwenImagePipeline,
    "seed image": pipeline_qwenimage_img2img.QwenImageImg2ImgPipeline,
    "mask": pipeline_qwenimage_inpaint.QwenImageInpaintPipeline,
    "control image": pipeline_qwenimage_controlnet.QwenImageControlNetPipeline,
    "edit": pipeline_qwenimage_edit.QwenImageEditPipeline,
    "edit_plus": pipeline_qwenimage_edit_plus.QwenImageEditPlusPipeline,
}
STRENGTH = 0.8


@dataclass(frozen=True)
class Comparison:
    """The two sides of the comparison, on the same models."""

    models: RandomModels

    @torch.inference_mode()
    def ours(self, scenario: Scenario) -> Any:
        """Render with our loop. Returns an image, or latents."""
        checkpoint = self.models.checkpoint
        model = LoadedModel(checkpoint)  # with an empty memory: diffusers keeps nothing either
        side = scenario.side
        references = encode_references(scenario.reference_images(), model, self._entry(scenario))
        request = RenderRequest("", "", None, side, side, scenario.steps, Sampler(), TRUE_CFG_SCALE, SEED)
        encoded: dict[str, Any] = {}
        if scenario.start != "noise":
            encoded = {"clean": encode_picture(scenario.start_image(), model)}
            request = replace(request, seed_image=_UNREAD, strength=STRENGTH)
        if scenario.start == "mask":
            _, rows, columns = grid(side, side, checkpoint.vae)
            mask = np.asarray(scenario.mask(), np.float32) / 255
            canvas = Canvas(scenario.start_image(), mask, (0, 0, side, side))
            encoded["mask"] = canvas.downsample_mask(2 * rows, 2 * columns)
        if scenario.start == "control image":
            control_latents, request = encoded.pop("clean"), replace(request, seed_image=None)
            control = Control(self.models.controlnet, control_latents, 1.0, "balanced", 0, scenario.steps)
            encoded["controls"] = (control,)
        state = begin(
            request,
            checkpoint,
            noise=self.models.noise(side),
            cond=self.models.prompt(),
            uncond=self.models.negative_prompt(),
            references=references,
            **encoded,
        )
        while state.step < state.total:
            advance([state])
        return finish(state) if scenario.picture else state.latents

    def diffusers(self, scenario: Scenario) -> Any:
        """Render with diffusers' pipeline; the fixed reference sizes of its edit pipelines become ours."""
        parts: dict[str, Any] = {} if scenario.mode == "text_to_image" else {"processor": None}
        if scenario.start == "control image":
            parts["controlnet"] = self.models.controlnet
        pipe = _PIPELINES[scenario.start if scenario.mode == "text_to_image" else scenario.mode](
            transformer=self.models.checkpoint.transformer,
            vae=self.models.video_vae,
            scheduler=FlowMatchEulerDiscreteScheduler.from_config(dict(self.models.checkpoint.scheduler)),
            text_encoder=None,
            tokenizer=None,
            **parts,
        )
        pipe.set_progress_bar_config(disable=True)
        size = self.models.size
        with (
            patch.object(pipeline_qwenimage_edit, "calculate_dimensions", self._scaled),
            patch.object(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", size.reference_area),
            patch.object(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", size.condition_area),
            # Three of them sample an image's latents; the mean, which ours takes, makes the results comparable.
            patch.object(pipeline_qwenimage_img2img, "retrieve_latents", _mean),
            patch.object(pipeline_qwenimage_inpaint, "retrieve_latents", _mean),
            patch.object(pipeline_qwenimage_controlnet, "retrieve_latents", _mean),
        ):
            return pipe(
                prompt_embeds=self.models.prompt(),
                prompt_embeds_mask=torch.ones((1, PROMPT_TOKENS), dtype=torch.long),
                negative_prompt_embeds=self.models.negative_prompt(),
                negative_prompt_embeds_mask=torch.ones((1, NEGATIVE_TOKENS), dtype=torch.long),
                width=scenario.side,
                height=scenario.side,
                num_inference_steps=scenario.steps,
                true_cfg_scale=TRUE_CFG_SCALE,
                output_type="pil" if scenario.picture else "latent",
                **self._inputs(scenario),
            ).images[0]

    def _inputs(self, scenario: Scenario) -> dict[str, Any]:
        """The inputs of diffusers' pipeline."""
        references = scenario.reference_images()
        if references:
            shown = references if scenario.mode == "edit_plus" else references[0]
            return {"image": shown, "latents": self.models.noise(scenario.side)}
        if scenario.start in ("noise", "control image"):
            inputs: dict[str, Any] = {"latents": self.models.noise(scenario.side)}
            return inputs | ({"control_image": scenario.start_image()} if scenario.start == "control image" else {})
        generator = torch.Generator("cpu").manual_seed(SEED)  # draws what `noise` draws
        inputs = {"image": scenario.start_image(), "strength": STRENGTH, "generator": generator}
        return inputs | ({"mask_image": scenario.mask()} if scenario.start == "mask" else {})

    def _entry(self, scenario: Scenario) -> ModelEntry:
        found = next(entry for entry in load_catalog().entries if entry.mode == scenario.mode)
        size = self.models.size
        return replace(found, reference_area=size.reference_area, condition_area=size.condition_area)

    def _scaled(self, _: int, ratio: float) -> tuple[int, int, None]:
        return *scaled_size(round(1000 * ratio), 1000, self.models.size.reference_area), None


def compare(comparison: Comparison, scenario: Scenario, repeats: int) -> dict[str, Any]:
    """Run both sides in turns: median seconds, the ratios ours / diffusers of neighbouring runs, and peak memory."""
    largest = difference(comparison, scenario)
    pairs = [
        (seconds(comparison, comparison.ours, scenario), seconds(comparison, comparison.diffusers, scenario))
        for _ in range(repeats)
    ]
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    return {
        "ours": round(statistics.median(ours for ours, _ in pairs), 4),
        "diffusers": round(statistics.median(theirs for _, theirs in pairs), 4),
        "ratio": {
            "min": round(ratios[0], 3),
            "median": round(statistics.median(ratios), 3),
            "max": round(ratios[-1], 3),
        },
        "peak_mib": memory(comparison, scenario),
        "difference": largest,
        "repeats": repeats,
    }


def difference(comparison: Comparison, scenario: Scenario) -> float:
    """The largest difference between the two results, in grey levels or latent units. Also warms both sides up."""
    ours, theirs = comparison.ours(scenario), comparison.diffusers(scenario)
    if scenario.picture:
        return float(np.abs(np.asarray(ours).astype(int) - np.asarray(theirs).astype(int)).max())
    return (ours[0] - theirs).abs().max().item()


def seconds(comparison: Comparison, render: Callable[[Scenario], Any], scenario: Scenario) -> float:
    """The time of one run, the device's queue included."""
    started = time.perf_counter()
    render(scenario)
    comparison.models.synchronize()
    return time.perf_counter() - started


def memory(comparison: Comparison, scenario: Scenario) -> dict[str, float]:
    """Peak MiB that each side takes beyond the weights, and the ratio ours / diffusers."""
    sides = (comparison.ours, comparison.diffusers)
    ours, theirs = (
        max(peak_mib(lambda render=render: render(scenario), comparison.models.device), 1.0) for render in sides
    )
    return {"ours": round(ours), "diffusers": round(theirs), "ratio": round(ours / theirs, 3)}


def _mean(encoded: Any, **_: Any) -> torch.Tensor:
    return encoded.latent_dist.mode()


def main() -> None:
    """Run from the command line."""
    command = Command.parse("pipeline", __doc__)
    comparison = Comparison(RandomModels.build(ModelSize.load(command.size), command.device))
    print(f"{'case':<34}{'ours s':>8}{'diffusers s':>13}   {'ratio min / median / max':<26}{'memory':>8}   difference")
    scenarios = {scenario.name: scenario for scenario in load_scenarios(command.size)}
    for name in command.select(list(scenarios)):
        scenario = scenarios[name]
        found = compare(comparison, scenario, command.repeats)
        ratio = " / ".join(f"{value:.3f}" for value in found["ratio"].values())
        print(
            f"{scenario.name:<34}{found['ours']:>8.3f}{found['diffusers']:>13.3f}   {ratio:<26}"
            f"{found['peak_mib']['ratio']:>8.2f}   {found['difference']:g}",
            flush=True,
        )
        command.record({"case": asdict(scenario), "seed": SEED, **found})


if __name__ == "__main__":
    main()
