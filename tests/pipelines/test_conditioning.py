from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from PIL import Image

from pipelines.catalog.catalog import Mode, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.templates import CONTROL_TOKENS, TEMPLATES
from pipelines.conditioning import MAX_PROMPT_TOKENS, encode_prompt, encode_references
from pipelines.errors import LoadError, PromptError
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.encoder.prompt_store import ModelPrompts, PromptStore

WIDE = Image.linear_gradient("L").resize((90, 60)).convert("RGB")
TALL = Image.radial_gradient("L").resize((40, 80)).convert("RGB")


def entry(mode: Mode) -> ModelEntry:
    found = next(e for e in load_catalog().entries if e.mode == mode)
    return replace(found, reference_area=128 * 128, condition_area=64 * 64)


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def loaded(checkpoint: Checkpoint) -> LoadedModel:
    return LoadedModel(checkpoint)


def tail_length(loaded: LoadedModel) -> int:
    return len(loaded.checkpoint.tokenizer(TEMPLATES["text_to_image"].tail)["input_ids"])


class TestPrompt:
    @pytest.mark.parametrize("text", ["", " ", "a red circle", "红色的圆", "\n\nnew lines\n"])
    def test_only_the_users_text_and_the_tail_are_left(self, loaded: LoadedModel, text: str) -> None:
        encoded = encode_prompt(text, None, loaded, entry("text_to_image"))
        assert encoded.embeds.shape == (1, len(text.encode()) + tail_length(loaded), 32)
        assert encoded.dropped == 0

    def test_a_long_prompt_loses_its_end_but_not_the_templates(self, loaded: LoadedModel) -> None:
        text = "quiet harbour " * 100
        cut = encode_prompt(text, None, loaded, entry("text_to_image"))
        fitting = encode_prompt(text[:MAX_PROMPT_TOKENS], None, loaded, entry("text_to_image"))
        assert cut.dropped == len(text) - MAX_PROMPT_TOKENS
        assert fitting.dropped == 0
        assert torch.equal(cut.embeds, fitting.embeds)

    def test_pictures_do_not_count_as_prompt(self, loaded: LoadedModel) -> None:
        references = encode_references([WIDE, TALL], loaded, entry("edit_plus"))
        encoded = encode_prompt("x" * MAX_PROMPT_TOKENS, references, loaded, entry("edit_plus"))
        assert encoded.dropped == 0
        assert encode_prompt("x" * 1030, references, loaded, entry("edit_plus")).dropped == 6

    @pytest.mark.parametrize("token", CONTROL_TOKENS)
    def test_control_tokens_are_refused(self, loaded: LoadedModel, token: str) -> None:
        with pytest.raises(PromptError, match="control token") as caught:
            encode_prompt(f"a{token}b", None, loaded, entry("text_to_image"))
        assert token in str(caught.value)

    def test_a_picture_seen_before_leaves_no_trace(self, loaded: LoadedModel) -> None:
        before = encode_prompt("a red circle", None, loaded, entry("text_to_image")).embeds
        references = encode_references([WIDE], loaded, entry("edit"))
        encode_prompt("make it green", references, loaded, entry("edit"))
        assert torch.equal(encode_prompt("a red circle", None, loaded, entry("text_to_image")).embeds, before)


class TestReferences:
    def test_without_pictures_there_are_none(self, loaded: LoadedModel) -> None:
        assert encode_references([], loaded, entry("text_to_image")) is None

    def test_edit_shows_one_picture_to_both_encoders(self, loaded: LoadedModel) -> None:
        references = encode_references([WIDE], loaded, entry("edit"))
        assert references is not None
        assert [picture.size for picture in references.seen] == [(160, 96)]
        assert references.shapes == ((1, 6, 10),)
        assert references.tokens.shape == (1, 60, 64)

    def test_edit_plus_shows_the_vision_tower_smaller_ones(self, loaded: LoadedModel) -> None:
        references = encode_references([WIDE, TALL], loaded, entry("edit_plus"))
        assert references is not None
        assert [picture.size for picture in references.seen] == [(64, 64), (32, 96)]
        assert references.shapes == ((1, 6, 10), (1, 12, 6))
        assert references.tokens.shape == (1, 60 + 72, 64)

    def test_nothing_about_them_is_random(self, loaded: LoadedModel) -> None:
        first, again = (encode_references([WIDE], loaded, entry("edit")) for _ in range(2))
        assert first is not None
        assert again is not None
        assert torch.equal(first.tokens, again.tokens)

    def test_the_prompt_is_encoded_with_what_the_vision_tower_sees(self, loaded: LoadedModel) -> None:
        model = entry("edit_plus")
        embeds = [
            encode_prompt("swap them", encode_references(pictures, loaded, model), loaded, model).embeds
            for pictures in ([WIDE, TALL], [TALL, WIDE], [WIDE])
        ]
        assert embeds[0].shape == embeds[1].shape
        assert not torch.equal(embeds[0], embeds[1])
        assert embeds[2].shape[1] < embeds[0].shape[1]

    def test_weights_without_an_image_processor_take_none(self, loaded: LoadedModel) -> None:
        references = encode_references([WIDE], loaded, entry("edit"))
        blind = LoadedModel(replace(loaded.checkpoint, image_processor=None))
        with pytest.raises(LoadError, match="no image processor"):
            encode_prompt("make it green", references, blind, entry("edit"))


class TestOnDisk:
    @pytest.fixture
    def kept(self, checkpoint: Checkpoint, tmp_path: Path) -> LoadedModel:
        return LoadedModel(checkpoint, prompts=ModelPrompts(PromptStore(tmp_path, 10**9), "an encoder"))

    def restarted(self, kept: LoadedModel) -> LoadedModel:
        """The same model without a text encoder, and with nothing in memory."""
        return LoadedModel(replace(kept.checkpoint, text_encoder=cast("Any", None)), prompts=kept.prompts)

    def test_a_known_prompt_needs_no_text_encoder(self, kept: LoadedModel, loaded: LoadedModel) -> None:
        encode_prompt("a red circle", None, kept, entry("text_to_image"))
        found = encode_prompt("a red circle", None, self.restarted(kept), entry("text_to_image"))
        assert torch.equal(found.embeds, encode_prompt("a red circle", None, loaded, entry("text_to_image")).embeds)

    def test_a_known_prompt_with_pictures_needs_none_either(self, kept: LoadedModel, loaded: LoadedModel) -> None:
        references = encode_references([WIDE, TALL], loaded, entry("edit_plus"))
        made = encode_prompt("make it green " * 300, references, kept, entry("edit_plus"))
        found = encode_prompt("make it green " * 300, references, self.restarted(kept), entry("edit_plus"))
        assert torch.equal(found.embeds, made.embeds)
        assert found.dropped == made.dropped > 0

    @pytest.mark.parametrize(
        ("text", "picture", "mode"),
        [("a blue circle", WIDE, "edit"), ("a red circle", TALL, "edit"), ("a red circle", WIDE, "edit_plus")],
    )
    def test_another_text_picture_or_template_is_encoded(
        self, kept: LoadedModel, loaded: LoadedModel, text: str, picture: Image.Image, mode: Mode
    ) -> None:
        references = encode_references([WIDE], loaded, entry("edit"))
        encode_prompt("a red circle", references, kept, entry("edit"))
        references = encode_references([picture], loaded, entry(mode))
        with pytest.raises(AttributeError, match="NoneType"):
            encode_prompt(text, references, self.restarted(kept), entry(mode))
