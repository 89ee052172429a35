import copy
from dataclasses import replace

import pytest
import torch
from PIL import Image

from pipelines.catalog.catalog import Mode, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.conditioning import encode_prompt, encode_references
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.encoder.waiting_encoder import WaitingEncoder
from tests.accel.weights.fake_device import FakeEngine

PICTURE = Image.linear_gradient("L").resize((90, 60)).convert("RGB")


def entry(mode: Mode) -> ModelEntry:
    found = next(e for e in load_catalog().entries if e.mode == mode)
    return replace(found, reference_area=128 * 128, condition_area=64 * 64)


class Waiting:
    """A checkpoint whose encoder waits in host memory, and the times that it has been read."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.read = 0
        self.engine = FakeEngine()
        encoder = copy.deepcopy(checkpoint.text_encoder)
        self.waiting = WaitingEncoder(encoder, self._read, torch.device("cpu"), self.engine)
        self.model = LoadedModel(replace(checkpoint, text_encoder=encoder, waiting=self.waiting))

    def _read(self) -> None:
        self.read += 1


@pytest.fixture
def waiting(checkpoint: Checkpoint) -> Waiting:
    return Waiting(checkpoint)


@torch.inference_mode()
def test_it_encodes_as_a_resident_encoder_does(waiting: Waiting, checkpoint: Checkpoint) -> None:
    for text in ("a red circle", "a blue square"):
        found = encode_prompt(text, None, waiting.model, entry("text_to_image"))
        expected = encode_prompt(text, None, LoadedModel(checkpoint), entry("text_to_image"))
        assert torch.equal(found.embeds, expected.embeds)
    assert waiting.read == 1


@torch.inference_mode()
def test_it_sees_pictures_as_a_resident_encoder_does(waiting: Waiting, checkpoint: Checkpoint) -> None:
    references = encode_references([PICTURE], LoadedModel(checkpoint), entry("edit"))
    found = encode_prompt("make it green", references, waiting.model, entry("edit"))
    expected = encode_prompt("make it green", references, LoadedModel(checkpoint), entry("edit"))
    assert torch.equal(found.embeds, expected.embeds)


@torch.inference_mode()
def test_the_vision_tower_stays_in_host_memory_without_pictures(waiting: Waiting) -> None:
    encode_prompt("a red circle", None, waiting.model, entry("text_to_image"))
    vision = sum(weight.nbytes for weight in waiting.model.checkpoint.text_encoder.model.visual.parameters())
    assert sum(waiting.engine.allocated) < waiting.waiting.host_bytes - vision


def test_it_is_read_at_the_first_prompt_only(waiting: Waiting) -> None:
    assert (waiting.read, waiting.waiting.host_bytes) == (0, 0)
    with waiting.waiting.running(pictures=False):
        assert waiting.read == 1
    weights = [*waiting.model.checkpoint.text_encoder.model.parameters()]
    assert waiting.waiting.host_bytes >= sum(weight.nbytes for weight in weights)
    assert not any(weight.is_inference() for weight in weights)
