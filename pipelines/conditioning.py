"""Encodes prompts and reference pictures into the transformer's conditioning.

Calls the text encoder itself, because diffusers' call has four faults. It does not pass `mm_token_type_ids`, so the
pictures lose their positions. It computes logits that are never used. It cuts the template's tail off long prompts. It
lets control tokens in the user's text act. Knows templates and encoders; knows no latents beyond the references'.
"""

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.templates import IMAGE_PAD, TEMPLATES, Template, find_control_token
from pipelines.editing.canvas import RelativeBox
from pipelines.errors import LoadError, PromptError
from pipelines.latents import PATCH, encode_pixels, grid
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.encoder.prompt_store import EncodedPrompt
from pipelines.models.memory import without_surplus
from pipelines.sizes import reference_size, scaled_size

# The most tokens of user text in the models' training (diffusers: tokenizer_max_length).
MAX_PROMPT_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class EncodedReferences:
    """Reference pictures, encoded for the transformer and scaled for the vision tower.

    `tokens` are packed latents [1, sum of rows·columns, 4z] and `shapes` their token grids. `seen` are the pictures
    that the vision tower encodes, and `key` identifies them in the cache of embeddings.
    """

    tokens: torch.Tensor
    shapes: tuple[tuple[int, int, int], ...]
    seen: tuple[Image.Image, ...]
    key: Hashable


def encode_references(
    pictures: Sequence[Image.Image], model: LoadedModel, entry: ModelEntry
) -> EncodedReferences | None:
    """Scale the pictures and encode them with the VAE; None without pictures.

    `edit` gives the same scaled picture to both encoders; `edit_plus` scales for each (as diffusers' pipelines do).
    """
    if not pictures:
        return None
    tokens, shapes, seen = [], [], []
    for picture in pictures:
        scaled = _resized(picture, reference_size(*picture.size, entry))
        tokens.append(encode_picture(scaled, model))
        shapes.append(grid(*scaled.size, model.checkpoint.vae))
        seen.append(
            _resized(picture, scaled_size(*picture.size, entry.condition_area)) if entry.mode == "edit_plus" else scaled
        )
    return EncodedReferences(torch.cat(tokens, dim=1), tuple(shapes), tuple(seen), tuple(pixel_hash(p) for p in seen))


def encode_context(
    pictures: Sequence[Image.Image], width: int, height: int, box: RelativeBox, model: LoadedModel
) -> EncodedReferences | None:
    """Encode the control image of an in-context LoRA at the rendered size in pixels; None without pictures.

    The text encoder does not see it, as in DiffSynth-Studio, where these LoRAs come from. It shows the whole picture:
    where only a `box` is rendered, the same box of it is used.
    """
    if not pictures:
        return None
    scaled = [resize_box(picture, width, height, box) for picture in pictures]
    shape = grid(width, height, model.checkpoint.vae)
    tokens = torch.cat([encode_picture(picture, model) for picture in scaled], dim=1)
    return EncodedReferences(tokens, (shape,) * len(scaled), seen=(), key=())


def resize_box(picture: Image.Image, width: int, height: int, box: RelativeBox) -> Image.Image:
    """A box of a picture, scaled to a size in pixels."""
    left, top, right, bottom = box
    pixels = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
    return picture.resize((width, height), Image.Resampling.LANCZOS, pixels)  # LANCZOS as in diffusers' pipelines


def encode_picture(picture: Image.Image, model: LoadedModel) -> torch.Tensor:
    """The packed latents [1, tokens, 4z] of a picture whose sides are multiples of a token's."""
    checkpoint = model.checkpoint

    def make() -> torch.Tensor:
        scaler = VaeImageProcessor(vae_scale_factor=checkpoint.vae.spatial_compression_ratio * PATCH)
        pixels = scaler.preprocess(picture).to(checkpoint.device, checkpoint.vae.dtype)
        return without_surplus(encode_pixels(checkpoint.vae, pixels).to(checkpoint.dtype))

    return model.memory.get("embedding", ("picture", pixel_hash(picture)), make)


def encode_prompt(
    text: str, references: EncodedReferences | None, model: LoadedModel, entry: ModelEntry
) -> EncodedPrompt:
    """Encode a prompt together with what the vision tower sees. Raises `PromptError` on a control token."""
    if token := find_control_token(text):
        raise PromptError(f"the prompt contains the control token {token}")

    def encode() -> EncodedPrompt:
        return _encode_prompt(text, references, model.checkpoint, entry)

    def make() -> EncodedPrompt:
        if model.prompts is None:
            return encode()
        return model.prompts.get(_contents(text, references, entry), model.checkpoint.device, encode)

    return model.memory.get("embedding", prompt_key(text, references, entry), make)


def prompt_key(text: str, references: EncodedReferences | None, entry: ModelEntry) -> Hashable:
    """The key of a prompt's encoding in the memory of a model."""
    return ("prompt", entry.mode, text, references.key if references else None)


def pixel_hash(picture: Image.Image) -> Hashable:
    """Cache key: the size, and a hash of the pixels."""
    return (picture.size, hashlib.blake2b(picture.tobytes(), digest_size=16).digest())


def _contents(text: str, references: EncodedReferences | None, entry: ModelEntry) -> Iterator[bytes]:
    """All that an encoding is made from besides the encoder."""
    template = TEMPLATES[entry.mode]
    yield from (part.encode() for part in (template.prefix, template.picture, template.tail, str(MAX_PROMPT_TOKENS)))
    yield text.encode("utf-8", "surrogatepass")
    for picture in references.seen if references else ():
        yield repr((picture.mode, picture.size)).encode()
        yield picture.tobytes()


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    width, height = size
    return cast("Image.Image", VaeImageProcessor().resize(picture, height, width))


def _encode_prompt(
    text: str, references: EncodedReferences | None, checkpoint: Checkpoint, entry: ModelEntry
) -> EncodedPrompt:
    template = TEMPLATES[entry.mode]
    pictures = references.seen if references else ()
    ids, system, dropped = _token_ids(text, len(pictures), template, checkpoint)
    inputs: dict[str, torch.Tensor] = {}
    if pictures:
        if checkpoint.image_processor is None:
            raise LoadError("these weights have no image processor, so they take no pictures")
        features = checkpoint.image_processor(images=list(pictures), return_tensors="pt")
        grids = features["image_grid_thw"]
        merged = grids.prod(dim=1) // checkpoint.image_processor.merge_size**2
        pad = cast("int", checkpoint.tokenizer.convert_tokens_to_ids(IMAGE_PAD))
        ids = _expand_placeholders(ids, pad, merged.tolist())
        inputs = {
            "pixel_values": features["pixel_values"].to(checkpoint.device, checkpoint.dtype),
            "image_grid_thw": grids.to(checkpoint.device),
            "mm_token_type_ids": torch.tensor([[int(i == pad) for i in ids]], device=checkpoint.device),
        }
    input_ids = torch.tensor([ids], device=checkpoint.device)
    waiting = checkpoint.waiting
    with nullcontext() if waiting is None else waiting.running(pictures=bool(pictures)):
        states = checkpoint.text_encoder.model(
            input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False, **inputs
        ).last_hidden_state
    return EncodedPrompt(without_surplus(states[:, system:].to(checkpoint.dtype)), dropped)


def _token_ids(text: str, pictures: int, template: Template, checkpoint: Checkpoint) -> tuple[list[int], int, int]:
    """The ids of the filled template, the number of system tokens, and the number of dropped tokens.

    Only the user's text is cut. The tail stays, because the model expects it.
    """
    system = _ids(template.prefix, checkpoint)
    shown = "".join(template.picture.format(number + 1) for number in range(pictures))
    head, tail = _ids(template.prefix + shown, checkpoint), _ids(template.tail, checkpoint)
    # Tokenized as one text, as in the model's training.
    ids = _ids(template.prefix + shown + text + template.tail, checkpoint)
    fitting = len(head) + MAX_PROMPT_TOKENS
    dropped = max(0, len(ids) - len(tail) - fitting)
    return (ids[:fitting] + tail if dropped else ids), len(system), dropped


def _ids(text: str, checkpoint: Checkpoint) -> list[int]:
    return checkpoint.tokenizer(text)["input_ids"]


def _expand_placeholders(ids: list[int], pad: int, counts: list[int]) -> list[int]:
    """Repeat each picture's placeholder once for each token that the vision tower returns for it."""
    remaining = iter(counts)
    return [token for i in ids for token in ([i] * next(remaining) if i == pad else [i])]
