"""The chat templates around a prompt, and the control tokens that a prompt must not contain.

Plain strings. Imports no torch, so that the API process can refuse a prompt at once.
"""

from dataclasses import dataclass

from pipelines.catalog.catalog import Mode

# Added tokens of the Qwen2.5 tokenizer, ids 151643 to 151664. The text encoder would read them as instructions.
CONTROL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
IMAGE_PAD = "<|image_pad|>"


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template. The hidden states of `prefix` are dropped; `picture` is repeated for each reference."""

    prefix: str
    picture: str
    tail: str = "<|im_end|>\n<|im_start|>assistant\n"


_DESCRIBE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)
_EDIT = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. Generate a new image "
    "that meets the user's requirements while maintaining consistency with the original input where appropriate."
    "<|im_end|>\n<|im_start|>user\n"
)

# diffusers, pipeline_qwenimage.py, pipeline_qwenimage_edit.py, pipeline_qwenimage_edit_plus.py
TEMPLATES: dict[Mode, Template] = {
    "text_to_image": Template(_DESCRIBE, ""),
    "edit": Template(_EDIT, "<|vision_start|><|image_pad|><|vision_end|>"),
    "edit_plus": Template(_EDIT, "Picture {}: <|vision_start|><|image_pad|><|vision_end|>"),
}


def find_control_token(text: str) -> str | None:
    """The first control token in a text, or None."""
    found = [(text.find(token), token) for token in CONTROL_TOKENS if token in text]
    return min(found)[1] if found else None
