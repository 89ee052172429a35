"""Our loop against diffusers' pipelines: the same latents, bit for bit, from the same noise and embeddings."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import QwenImageEditPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import QwenImageEditPlusPipeline
from PIL import Image

from pipelines.catalog.catalog import Mode
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.templates import TEMPLATES
from pipelines.conditioning import EncodedReferences, encode_prompt, encode_references
from pipelines.latents import decode_tokens, grid
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.request import RenderRequest, Sampler
from pipelines.sizes import edit_size, reference_size, scaled_size
from tests.oracle.common import AREA, HEIGHT, WIDTH, denoised, drawn_noise, embeddings, entry, pipeline

PICTURES = [Image.linear_gradient("L").resize((80, 60)).convert("RGB"), Image.new("RGB", (50, 70), (200, 30, 90))]


def ours(
    checkpoint: Checkpoint, mode: Mode, steps: int, scale: float, references: EncodedReferences | None = None
) -> torch.Tensor:
    request = RenderRequest(entry(mode).air, "", None, WIDTH, HEIGHT, steps, Sampler(), scale, 3)
    return denoised(request, checkpoint, references=references)


def theirs(pipe: Any, checkpoint: Checkpoint, steps: int, scale: float, **options: Any) -> torch.Tensor:
    if scale > 1:
        options["negative_prompt_embeds"] = embeddings(checkpoint, 2, 7)
    return pipe(
        prompt_embeds=embeddings(checkpoint, 1, 11),
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=steps,
        true_cfg_scale=scale,
        latents=drawn_noise(checkpoint).to(checkpoint.dtype),
        output_type="latent",
        **options,
    ).images


def one_step_works(checkpoint: Checkpoint) -> Checkpoint:
    """diffusers' schedule of one step is 0/0 with a terminal sigma, so both sides omit it there."""
    return replace(checkpoint, scheduler={**checkpoint.scheduler, "shift_terminal": None})


@pytest.mark.parametrize(
    ("steps", "scale"), [(1, 1.0), (1, 4.0), (2, 1.0), (2, 4.0), pytest.param(4, 4.0, marks=pytest.mark.slow)]
)
class TestLatents:
    def test_text_to_image(
        self, precise: Checkpoint, video_vae: AutoencoderKLQwenImage, steps: int, scale: float
    ) -> None:
        checkpoint = one_step_works(precise) if steps == 1 else precise
        pipe = pipeline(QwenImagePipeline, checkpoint, video_vae)
        expected = theirs(pipe, checkpoint, steps, scale)
        assert torch.equal(ours(checkpoint, "text_to_image", steps, scale), expected)

    def test_edit(
        self,
        precise: Checkpoint,
        video_vae: AutoencoderKLQwenImage,
        monkeypatch: pytest.MonkeyPatch,
        steps: int,
        scale: float,
    ) -> None:
        checkpoint = one_step_works(precise) if steps == 1 else precise
        monkeypatch.setattr(
            pipeline_qwenimage_edit,
            "calculate_dimensions",
            lambda area, ratio: (*scaled_size_of_ratio(ratio), None),
        )
        pipe = pipeline(QwenImageEditPipeline, checkpoint, video_vae)
        references, expected = recorded(pipe, checkpoint, "edit", PICTURES[0], steps, scale)
        assert torch.equal(ours(checkpoint, "edit", steps, scale, references), expected)


@pytest.mark.parametrize(
    ("steps", "scale", "count"),
    [(1, 1.0, 1), (1, 4.0, 2), (2, 1.0, 2), (2, 4.0, 1), pytest.param(4, 4.0, 2, marks=pytest.mark.slow)],
)
def test_edit_plus_latents(
    precise: Checkpoint,
    video_vae: AutoencoderKLQwenImage,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    scale: float,
    count: int,
) -> None:
    checkpoint = one_step_works(precise) if steps == 1 else precise
    monkeypatch.setattr(
        pipeline_qwenimage_edit_plus, "calculate_dimensions", lambda area, ratio: scaled_size_of_ratio(ratio)
    )
    pipe = pipeline(QwenImageEditPlusPipeline, checkpoint, video_vae)
    references, expected = recorded(pipe, checkpoint, "edit_plus", PICTURES[:count], steps, scale)
    assert torch.equal(ours(checkpoint, "edit_plus", steps, scale, references), expected)


class _SizesKnown(Exception):
    """The pipeline has chosen its sizes; nothing more of it is needed."""


@pytest.mark.parametrize("shape", [(400, 300), (1920, 1080), (2560, 1080), (1080, 1920), (1000, 1000), (777, 500)])
@pytest.mark.parametrize(("mode", "kind"), [("edit", QwenImageEditPipeline), ("edit_plus", QwenImageEditPlusPipeline)])
def test_the_sizes_of_an_edit_at_a_megapixel(
    checkpoint: Checkpoint,
    video_vae: AutoencoderKLQwenImage,
    monkeypatch: pytest.MonkeyPatch,
    mode: Mode,
    kind: Any,
    shape: tuple[int, int],
) -> None:
    pipe = pipeline(kind, checkpoint, video_vae)
    chosen = []

    def prepare_latents(image: Any, *arguments: Any, **options: Any) -> None:
        first = image[0] if isinstance(image, list) else image
        height, width = (value for value in arguments if isinstance(value, int) and value > 100)
        chosen.append(((width, height), (first.shape[-1], first.shape[-2])))
        raise _SizesKnown

    monkeypatch.setattr(pipe, "prepare_latents", prepare_latents)
    with pytest.raises(_SizesKnown):
        pipe(image=Image.new("RGB", shape), prompt_embeds=embeddings(checkpoint, 1, 11), true_cfg_scale=1.0)
    served = next(e for e in load_catalog().entries if e.mode == mode)
    assert chosen == [(edit_size(*shape, served), reference_size(*shape, served))]


def scaled_size_of_ratio(ratio: float) -> tuple[int, int]:
    return scaled_size(round(1000 * ratio), 1000, AREA)


def recorded(
    pipe: Any, checkpoint: Checkpoint, mode: Mode, images: Any, steps: int, scale: float
) -> tuple[EncodedReferences, torch.Tensor]:
    """Run a pipeline and record its reference latents: those of our folded VAE differ by rounding."""
    made = []
    prepare_latents = pipe.prepare_latents

    def spy(*arguments: Any, **options: Any) -> Any:
        latents, image_latents = prepare_latents(*arguments, **options)
        made.append(image_latents)
        return latents, image_latents

    pipe.prepare_latents = spy
    expected = theirs(pipe, checkpoint, steps, scale, image=images)
    pictures = images if isinstance(images, list) else [images]
    with torch.inference_mode():
        references = encode_references(pictures, LoadedModel(checkpoint), entry(mode))
    assert references is not None
    tolerance = 1e-4 if checkpoint.dtype == torch.float32 else 0.15
    torch.testing.assert_close(references.tokens, made[0], atol=tolerance, rtol=tolerance)
    return replace(references, tokens=made[0]), expected


def test_one_step_with_a_terminal_sigma_is_finite_where_diffusers_is_not(
    checkpoint: Checkpoint, video_vae: AutoencoderKLQwenImage
) -> None:
    assert ours(checkpoint, "text_to_image", 1, 4.0).isfinite().all()
    pipe = pipeline(QwenImagePipeline, checkpoint, video_vae)
    with pytest.warns(RuntimeWarning):
        assert theirs(pipe, checkpoint, 1, 4.0).isnan().all()


def test_the_decoded_picture(checkpoint: Checkpoint, video_vae: AutoencoderKLQwenImage) -> None:
    pipe = pipeline(QwenImagePipeline, checkpoint, video_vae)
    expected = pipe(
        prompt_embeds=embeddings(checkpoint, 1, 11),
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=2,
        true_cfg_scale=1.0,
        latents=drawn_noise(checkpoint),
    ).images[0]
    with torch.inference_mode():
        picture = decode_tokens(
            checkpoint.vae, ours(checkpoint, "text_to_image", 2, 1.0), grid(WIDTH, HEIGHT, checkpoint.vae)
        )
    worst = max(abs(a - b) for a, b in zip(picture.tobytes(), expected.tobytes(), strict=True))
    assert picture.size == expected.size
    assert worst <= 1


class TestPrompts:
    def test_text_to_image_embeddings(self, checkpoint: Checkpoint, video_vae: AutoencoderKLQwenImage) -> None:
        pipe = pipeline(QwenImagePipeline, checkpoint, video_vae)
        prefix = TEMPLATES["text_to_image"].prefix
        assert pipe.prompt_template_encode == prefix + "{}" + TEMPLATES["text_to_image"].tail
        pipe.prompt_template_encode_start_idx = len(checkpoint.tokenizer(prefix)["input_ids"])
        with torch.inference_mode():
            expected, _ = pipe.encode_prompt("a red circle, 红色的圆")
            mine = encode_prompt("a red circle, 红色的圆", None, LoadedModel(checkpoint), entry("text_to_image"))
        assert torch.equal(mine.embeds, expected)

    @pytest.mark.parametrize(
        ("mode", "kind"), [("edit", QwenImageEditPipeline), ("edit_plus", QwenImageEditPlusPipeline)]
    )
    def test_edit_templates(
        self, checkpoint: Checkpoint, video_vae: AutoencoderKLQwenImage, mode: Mode, kind: type[Any]
    ) -> None:
        template = TEMPLATES[mode]
        shown = template.picture if mode == "edit" else ""
        assert pipeline(kind, checkpoint, video_vae).prompt_template_encode == (
            template.prefix + shown + "{}" + template.tail
        )

    @pytest.mark.parametrize("mode", ["edit", "edit_plus"])
    def test_edit_embeddings_keep_the_pictures_positions(self, checkpoint: Checkpoint, mode: Mode) -> None:
        with torch.inference_mode():
            references = encode_references(PICTURES[:1], LoadedModel(checkpoint), entry(mode))
            assert references is not None
            mine = encode_prompt("make it green", references, LoadedModel(checkpoint), entry(mode)).embeds
            with_positions = stock_embeddings(checkpoint, references, mode, pass_types=True)
            without = stock_embeddings(checkpoint, references, mode, pass_types=False)
        assert torch.equal(mine, with_positions)
        assert mine.shape == without.shape
        assert not torch.allclose(mine, without)  # the result of diffusers' edit pipelines with transformers 5


def stock_embeddings(
    checkpoint: Checkpoint, references: EncodedReferences, mode: Mode, *, pass_types: bool
) -> torch.Tensor:
    """The public forward of the text encoder on hand-made ids."""
    assert checkpoint.image_processor is not None
    template = TEMPLATES[mode]
    features = checkpoint.image_processor(images=list(references.seen), return_tensors="pt")
    count = int(features["image_grid_thw"].prod()) // checkpoint.image_processor.merge_size**2
    picture = template.picture.format(1).replace("<|image_pad|>", "<|image_pad|>" * count)
    ids = checkpoint.tokenizer(template.prefix + picture + "make it green" + template.tail, return_tensors="pt")
    pad = checkpoint.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    types = {"mm_token_type_ids": (ids["input_ids"] == pad).int()} if pass_types else {}
    output = checkpoint.text_encoder(**ids, **features, **types, output_hidden_states=True)
    return output.hidden_states[-1][:, len(checkpoint.tokenizer(template.prefix)["input_ids"]) :]
