"""Our denoising loop against diffusers' pipelines: the same weights and the same request, in turns.

    python -m benchmarks.pipeline [--device cuda] [--full-size] [--repeats 7] [--out benchmarks/results/pipeline.jsonl]

Weights and prompt embeddings are random, so nothing is downloaded and the text encoder is not measured. Each side
scales and encodes the references, denoises, and decodes, with its own VAE code. `--full-size` takes the real models'
dimensions (41 GB in bfloat16). Prints a table and appends one JSON line for each case.
"""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast
from unittest.mock import patch

import numpy as np
import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage import (
    pipeline_qwenimage_controlnet,
    pipeline_qwenimage_edit,
    pipeline_qwenimage_edit_plus,
    pipeline_qwenimage_img2img,
    pipeline_qwenimage_inpaint,
)
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from PIL import Image

from accel.weights.single_frame import SingleFrameVae
from benchmarks.command import Command
from benchmarks.peak_memory import peak_mib
from pipelines.catalog.catalog import EMBEDDED_FOLDER, Mode, ModelEntry, load_catalog
from pipelines.conditioning import encode_picture, encode_references
from pipelines.controlnet.residuals import Control
from pipelines.editing.canvas import Canvas
from pipelines.latents import grid, noise
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.devices import default_dtype
from pipelines.render import advance, begin, finish
from pipelines.request import Reference, RenderRequest, Sampler
from pipelines.sizes import scaled_size

SEED = 1
PROMPT_TOKENS, NEGATIVE_TOKENS = 60, 6
SCALE = 4.0
# What a ControlNet has of the transformer it is made for.
_SHARED = (
    "patch_size",
    "in_channels",
    "out_channels",
    "attention_head_dim",
    "num_attention_heads",
    "joint_attention_dim",
    "axes_dims_rope",
)
# `begin` is given a seed image's latents, so it only asks whether there is one.
_UNREAD = Reference(Path(), "", 1, 1)


@dataclass(frozen=True)
class Case:
    """One request. `picture` says whether the latents are decoded at the end, `start` what it starts from."""

    name: str
    mode: Mode
    side: int
    steps: int
    references: int = 0
    picture: bool = True
    start: Literal["noise", "seed image", "mask", "guide"] = "noise"


@dataclass(frozen=True)
class Size:
    """Dimensions of the models, and what is worth drawing with them. Areas are pixels of a reference."""

    transformer: dict[str, Any]
    vae: dict[str, Any]
    reference_area: int
    condition_area: int
    cases: tuple[Case, ...]


SMALL = Size(
    transformer={
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "axes_dims_rope": (4, 6, 6),
    },
    vae={"base_dim": 8, "num_res_blocks": 1},
    reference_area=256 * 256,
    condition_area=112 * 112,
    cases=(
        Case("text to image 256, loop alone", "text_to_image", 256, 20, picture=False),
        Case("text to image 256", "text_to_image", 256, 20),
        Case("text to image 512", "text_to_image", 512, 20),
        Case("edit 512", "edit", 512, 8, references=1),
        Case("edit plus 512, two references", "edit_plus", 512, 8, references=2),
        Case("image to image 512", "text_to_image", 512, 20, start="seed image"),
        Case("inpainting 512", "text_to_image", 512, 20, start="mask"),
        Case("ControlNet 512", "text_to_image", 512, 20, start="guide"),
    ),
)
# The classes' defaults are Qwen-Image's own dimensions.
FULL = Size(
    transformer={},
    vae={},
    reference_area=1024 * 1024,
    condition_area=384 * 384,
    cases=(
        Case("text to image 1024, loop alone", "text_to_image", 1024, 20, picture=False),
        Case("text to image 1024", "text_to_image", 1024, 20),
        Case("edit 1024", "edit", 1024, 8, references=1),
        Case("edit plus 1024, two references", "edit_plus", 1024, 8, references=2),
        Case("image to image 1024", "text_to_image", 1024, 20, start="seed image"),
        Case("inpainting 1024", "text_to_image", 1024, 20, start="mask"),
        Case("ControlNet 1024", "text_to_image", 1024, 20, start="guide"),
    ),
)

PIPELINES: dict[str, Any] = {
    "noise": QwenImagePipeline,
    "seed image": pipeline_qwenimage_img2img.QwenImageImg2ImgPipeline,
    "mask": pipeline_qwenimage_inpaint.QwenImageInpaintPipeline,
    "guide": pipeline_qwenimage_controlnet.QwenImageControlNetPipeline,
    "edit": pipeline_qwenimage_edit.QwenImageEditPipeline,
    "edit_plus": pipeline_qwenimage_edit_plus.QwenImageEditPlusPipeline,
}
STRENGTH = 0.8


@dataclass(frozen=True)
class Bench:
    """Both sides' parts. The transformer is one and the same; each side has its own form of the same VAE."""

    checkpoint: Checkpoint
    video_vae: AutoencoderKLQwenImage
    size: Size
    context: int
    controlnet: QwenImageControlNetModel

    @classmethod
    def build(cls, size: Size, device: torch.device) -> "Bench":
        """Random weights, made where they are used: the full size would take minutes on a CPU."""
        dtype = default_dtype(device)
        with init_empty_weights(include_buffers=False):
            transformer = QwenImageTransformer2DModel(**size.transformer)
            vae = AutoencoderKLQwenImage(**size.vae)
            fits = {name: transformer.config[name] for name in _SHARED}
            layers = max(1, transformer.config["num_layers"] // 12)  # as the published nets: 5 of 60
            controlnet = QwenImageControlNetModel(**fits, num_layers=layers)
        torch.manual_seed(SEED)
        for model in (transformer, vae, controlnet):
            torch.nn.Module.to(model, dtype).to_empty(device=device).eval().requires_grad_(False)
            for weight in model.parameters():  # scaled so that a result is neither flat nor infinite
                weight.normal_(std=0.02 if weight.ndim == 1 else weight[0].numel() ** -0.5)
        # The embedded checkpoint has the real models' schedule.
        schedule = FlowMatchEulerDiscreteScheduler.load_config(EMBEDDED_FOLDER, subfolder="scheduler")
        checkpoint = Checkpoint(
            transformer=transformer,
            vae=SingleFrameVae(copy.deepcopy(vae)),
            text_encoder=cast("Any", None),
            tokenizer=cast("Any", None),
            image_processor=None,
            scheduler=cast("dict[str, Any]", schedule),
            device=device,
            dtype=dtype,
        )
        return cls(checkpoint, vae, size, int(transformer.config["joint_attention_dim"]), controlnet)

    def embeddings(self, seed: int, tokens: int) -> torch.Tensor:
        """Random prompt embeddings [1, tokens, width]."""
        drawn = torch.randn((1, tokens, self.context), generator=torch.Generator().manual_seed(seed))
        return drawn.to(self.checkpoint.device, self.checkpoint.dtype)

    def noise(self, case: Case) -> torch.Tensor:
        """The noise that both sides start from."""
        drawn = noise(grid(case.side, case.side, self.checkpoint.vae), 16, SEED)
        return drawn.to(self.checkpoint.device, self.checkpoint.dtype)

    @torch.inference_mode()
    def ours(self, case: Case) -> Any:
        """Draw a case with our loop: a picture, or latents."""
        checkpoint = self.checkpoint
        model = LoadedModel(checkpoint)  # with an empty memory: diffusers keeps nothing either
        references = encode_references(pictures(case), model, self._entry(case))
        request = RenderRequest("", "", None, case.side, case.side, case.steps, Sampler(), SCALE, SEED)
        size = (case.side, case.side)
        encoded: dict[str, Any] = {}
        if case.start != "noise":
            encoded = {"clean": encode_picture(start_picture(case), model)}
            request = replace(request, seed_image=_UNREAD, strength=STRENGTH)
        if case.start == "mask":
            _, rows, columns = grid(*size, checkpoint.vae)
            canvas = Canvas(start_picture(case), np.asarray(start_mask(case), np.float32) / 255, (0, 0, *size))
            encoded["mask"] = canvas.downsample_mask(2 * rows, 2 * columns)
        if case.start == "guide":
            guide, request = encoded.pop("clean"), replace(request, seed_image=None)
            encoded["controls"] = (Control(self.controlnet, guide, 1.0, "balanced", 0, case.steps),)
        state = begin(
            request,
            checkpoint,
            noise=self.noise(case),
            cond=self.embeddings(1, PROMPT_TOKENS),
            uncond=self.embeddings(2, NEGATIVE_TOKENS),
            references=references,
            **encoded,
        )
        while state.step < state.total:
            advance([state])
        return finish(state) if case.picture else state.latents

    def theirs(self, case: Case) -> Any:
        """Draw a case with diffusers' pipeline; the edit pipelines' fixed reference sizes become ours."""
        parts: dict[str, Any] = {} if case.mode == "text_to_image" else {"processor": None}
        if case.start == "guide":
            parts["controlnet"] = self.controlnet
        pipe = PIPELINES[case.start if case.mode == "text_to_image" else case.mode](
            transformer=self.checkpoint.transformer,
            vae=self.video_vae,
            scheduler=FlowMatchEulerDiscreteScheduler.from_config(dict(self.checkpoint.scheduler)),
            text_encoder=None,
            tokenizer=None,
            **parts,
        )
        pipe.set_progress_bar_config(disable=True)
        shown = pictures(case)
        options: dict[str, Any] = {"image": shown if case.mode == "edit_plus" else shown[0]} if shown else {}
        if case.start in ("noise", "guide"):
            options["latents"] = self.noise(case)
        if case.start in ("seed image", "mask"):
            generator = torch.Generator("cpu").manual_seed(SEED)  # draws what `noise` draws
            options |= {"image": start_picture(case), "strength": STRENGTH, "generator": generator}
        if case.start == "mask":
            options["mask_image"] = start_mask(case)
        if case.start == "guide":
            options["control_image"] = start_picture(case)
        with (
            patch.object(pipeline_qwenimage_edit, "calculate_dimensions", self._scaled),
            patch.object(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", self.size.reference_area),
            patch.object(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", self.size.condition_area),
            # Three of them sample a picture's latents; the mean, which ours takes, makes the results comparable.
            patch.object(pipeline_qwenimage_img2img, "retrieve_latents", _mean),
            patch.object(pipeline_qwenimage_inpaint, "retrieve_latents", _mean),
            patch.object(pipeline_qwenimage_controlnet, "retrieve_latents", _mean),
        ):
            return pipe(
                prompt_embeds=self.embeddings(1, PROMPT_TOKENS),
                prompt_embeds_mask=torch.ones((1, PROMPT_TOKENS), dtype=torch.long),
                negative_prompt_embeds=self.embeddings(2, NEGATIVE_TOKENS),
                negative_prompt_embeds_mask=torch.ones((1, NEGATIVE_TOKENS), dtype=torch.long),
                width=case.side,
                height=case.side,
                num_inference_steps=case.steps,
                true_cfg_scale=SCALE,
                output_type="pil" if case.picture else "latent",
                **options,
            ).images[0]

    def _entry(self, case: Case) -> ModelEntry:
        found = next(entry for entry in load_catalog().entries if entry.mode == case.mode)
        return replace(found, reference_area=self.size.reference_area, condition_area=self.size.condition_area)

    def _scaled(self, _: int, ratio: float) -> tuple[int, int, None]:
        return *scaled_size(round(1000 * ratio), 1000, self.size.reference_area), None


def pictures(case: Case) -> list[Image.Image]:
    """The references of a case, 4 : 3."""
    return [Image.radial_gradient("L").resize((640, 480)).convert("RGB")] * case.references


def _mean(encoded: Any, **_: Any) -> torch.Tensor:
    return encoded.latent_dist.mode()


def start_picture(case: Case) -> Image.Image:
    """A seed image, or a guide."""
    return Image.radial_gradient("L").resize((case.side, case.side)).convert("RGB")


def start_mask(case: Case) -> Image.Image:
    """White in its middle, along the edges of latent pixels."""
    mask = Image.new("L", (case.side, case.side))
    quarter = case.side // 4 // 16 * 16
    mask.paste(255, (quarter, quarter, case.side - quarter, case.side - quarter))
    return mask


def seconds(draw: Callable[[Case], Any], case: Case, device: torch.device) -> float:
    """The time of one run, the device's queue included."""
    started = time.perf_counter()
    draw(case)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def difference(bench: Bench, case: Case) -> float:
    """The largest difference between the two results, in grey levels or latent units. Also warms both up."""
    ours, theirs = bench.ours(case), bench.theirs(case)
    if case.picture:
        return float(np.abs(np.asarray(ours).astype(int) - np.asarray(theirs).astype(int)).max())
    return (ours[0] - theirs).abs().max().item()


def memory(bench: Bench, case: Case) -> dict[str, float]:
    """Peak MiB that each side takes beyond the weights, and ours / theirs."""
    device = bench.checkpoint.device
    ours, theirs = (max(peak_mib(lambda draw=draw: draw(case), device), 1.0) for draw in (bench.ours, bench.theirs))
    return {"ours": round(ours), "diffusers": round(theirs), "ratio": round(ours / theirs, 3)}


def compare(bench: Bench, case: Case, repeats: int) -> dict[str, Any]:
    """Run a case in turns: median seconds of each side, the ratio ours / theirs of neighbouring runs, peak memory."""
    worst = difference(bench, case)
    device = bench.checkpoint.device
    pairs = [(seconds(bench.ours, case, device), seconds(bench.theirs, case, device)) for _ in range(repeats)]
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    return {
        "ours": round(statistics.median(ours for ours, _ in pairs), 4),
        "diffusers": round(statistics.median(theirs for _, theirs in pairs), 4),
        "ratio": {
            "min": round(ratios[0], 3),
            "median": round(statistics.median(ratios), 3),
            "max": round(ratios[-1], 3),
        },
        "peak_mib": memory(bench, case),
        "difference": worst,
        "repeats": repeats,
    }


def main() -> None:
    """Run from the command line."""
    command = Command.parse("pipeline", __doc__)
    size = FULL if command.full_size else SMALL
    bench = Bench.build(size, command.device)
    print(f"{'case':<34}{'ours s':>8}{'diffusers s':>13}   {'ratio min / median / max':<26}{'memory':>8}   difference")
    for case in size.cases:
        found = compare(bench, case, command.repeats)
        ratio = " / ".join(f"{value:.3f}" for value in found["ratio"].values())
        print(
            f"{case.name:<34}{found['ours']:>8.3f}{found['diffusers']:>13.3f}   {ratio:<26}"
            f"{found['peak_mib']['ratio']:>8.2f}   {found['difference']:g}",
            flush=True,
        )
        command.record({"case": asdict(case), "seed": SEED, **found})


if __name__ == "__main__":
    main()
