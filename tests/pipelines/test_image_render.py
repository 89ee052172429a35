import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from accel.cache import session
from accel.cache.plan import CachePlan
from accel.kernels.attention import AttentionChoice
from pipelines import image_render as module
from pipelines.errors import PromptError, ResultError
from pipelines.generate import generate
from pipelines.models import checkpoint as checkpoint_module
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.plan import resident_plan
from pipelines.models.planning.admission import Admission
from pipelines.models.planning.workload import Workload
from pipelines.models.running import memory_meter
from pipelines.pictures.watermark import draw_watermark
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance, finish
from pipelines.request import FaceRefinement, LoraUse, RenderRequest
from tests.adapters import named, random_adapter, write
from tests.compiled import UntracedBlocks
from tests.pipelines.render.renders import asked, entry

FACES = FaceRefinement("a face", None, true_cfg_scale=1.0, steps=2, strength=1.0, mask_blur=0)


def ignore(step: int, total: int) -> None:
    """Nothing is to be told."""


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> LoadedModel:
    return LoadedModel(checkpoint)


def rendered(model: LoadedModel, request: RenderRequest, index: int = 0) -> np.ndarray:
    state = prepare(request, index, model, entry("text_to_image"))
    while state.step < state.total:
        advance([state])
    return np.asarray(finish(state))


def test_slow_attention_is_told(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = AttentionChoice(warning="cuDNN is hidden.")
    monkeypatch.setattr(checkpoint_module, "choose_attention", lambda device, dtype, wanted: choice)
    assert generate(asked(steps=1), 0, model, entry("text_to_image"), ignore).warnings == ("cuDNN is hidden.",)


def test_a_watermark_is_drawn_on_the_finished_image(model: LoadedModel) -> None:
    plain = generate(asked(), 0, model, entry("text_to_image"), ignore).image
    marked = generate(replace(asked(), watermark="me"), 0, model, entry("text_to_image"), ignore).image
    assert np.array_equal(np.asarray(marked), np.asarray(draw_watermark(plain, "me")))
    assert not np.array_equal(np.asarray(marked), np.asarray(plain))


@pytest.mark.parametrize(("changed", "warnings"), [("attn.to_q.lora_A", ()), ("attn.norm_q", (module.UNCOMPILED,))])
def test_loras_that_compiled_blocks_have_no_place_for_are_told(
    checkpoint: Checkpoint, tmp_path: Path, changed: str, warnings: tuple[str, ...]
) -> None:
    torch.compiler.reset()
    state = named(random_adapter(checkpoint.transformer, 1))
    if changed == "attn.norm_q":  # a norm has no product that could be added to
        state["transformer_blocks.0.attn.norm_q.diff"] = torch.ones(16)
    path = write(tmp_path / "lora.safetensors", state)
    served, request = entry("text_to_image"), asked(steps=1, loras=(LoraUse("one", path, 1.0),))
    plain, compiled = LoadedModel(checkpoint), LoadedModel(replace(checkpoint, compiled=UntracedBlocks()))
    expected, found = (generate(request, 0, each, served, ignore) for each in (plain, compiled))
    assert found.warnings == warnings
    assert found.recompiled == (0 if warnings else 1)  # the model was not compiled when it was loaded
    difference = np.abs(np.asarray(expected.image, np.int16) - np.asarray(found.image, np.int16))
    assert difference.max() <= 1


def test_a_cache_that_reused_nothing_is_told(model: LoadedModel) -> None:
    request = asked(steps=3, cache=CachePlan("fbcache", 0.0, 0, 3, 3))
    generated = generate(request, 0, model, entry("text_to_image"), ignore)
    assert generated.warnings == ("The cache 'fbcache' reused none of the 3 steps.",)
    assert generated.cache is not None
    assert generated.cache.steps == 3


class TestNotFinite:
    """A transformer whose every output is NaN, as weights of the wrong scale are."""

    @pytest.fixture
    def broken(self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
        proj_out = model.checkpoint.transformer.proj_out
        monkeypatch.setattr(proj_out, "forward", lambda hidden: torch.full((*hidden.shape[:2], 64), torch.nan))
        return model

    def test_it_is_an_error_that_names_the_likely_cause(self, broken: LoadedModel) -> None:
        with pytest.raises(ResultError) as caught:
            generate(asked(), 0, broken, entry("text_to_image"), ignore)
        assert str(caught.value) == (
            "The result is no picture, because its latents are not finite numbers. "
            "The likely cause is the weights of Qwen-Image or the precision float32."
        )

    def test_so_it_is_in_a_face(self, broken: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        picture = Image.new("RGB", (64, 48))
        monkeypatch.setattr(module, "find_faces", lambda image, confidence: ((0, 0, 8, 8),))
        monkeypatch.setattr(module, "finish", lambda state: finish(state) if state.canvas else picture)
        with pytest.raises(ResultError, match="The likely cause is"):
            generate(asked(faces=FACES), 0, broken, entry("text_to_image"), ignore)

    def test_a_cache_without_a_finite_distance_says_so(
        self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "measure_distances", lambda signals, memories, metric, timestep: ([math.inf], 0.5))
        request = asked(steps=4, true_cfg_scale=1.0, cache=CachePlan("fbcache", 0.5, 0, 4, 4))
        generated = generate(request, 0, model, entry("text_to_image"), ignore)
        assert generated.warnings[-1] == (
            "The cache 'fbcache' measured no finite distance in 2 forwards, so they were computed."
        )


def test_a_large_flat_result_is_told(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "finish", lambda state: Image.new("RGB", (1024, 1024)))
    (warning,) = generate(asked(), 0, model, entry("text_to_image"), ignore).warnings
    assert "one flat color (0, 0, 0)" in warning


class TestFaces:
    def test_without_a_face_the_image_stays_and_a_warning_says_so(
        self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "find_faces", lambda image, confidence: ())
        generated = generate(asked(faces=FACES), 0, model, entry("text_to_image"), ignore)
        assert generated.warnings == ("No face was found, so none was refined.",)
        assert np.array_equal(np.asarray(generated.image), rendered(model, asked()))

    def test_a_prompt_of_theirs_that_is_refused_is_named(
        self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "find_faces", lambda image, confidence: ((0, 0, 8, 8),))
        request = asked(faces=replace(FACES, prompt="<|im_end|>"))
        with pytest.raises(PromptError) as caught:
            generate(request, 0, model, entry("text_to_image"), ignore)
        assert caught.value.path == "faces.prompt"

    def test_each_face_is_rendered_again_and_nothing_else(
        self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        width, height = asked().width, asked().height
        boxes = ((0, 0, 8, 8), (width - 8, height - 8, width, height))
        monkeypatch.setattr(module, "find_faces", lambda image, confidence: boxes)
        heard: list[tuple[int, int]] = []
        request = asked(steps=3, faces=replace(FACES, mask_padding=0))
        generated = generate(request, 0, model, entry("text_to_image"), lambda *steps: heard.append(steps))
        before, after = rendered(model, asked(steps=3)), np.asarray(generated.image)
        faces = np.zeros((height, width), bool)
        for left, top, right, bottom in boxes:
            faces[top:bottom, left:right] = True
            assert not np.array_equal(before[top:bottom, left:right], after[top:bottom, left:right])
        assert np.array_equal(before[~faces], after[~faces])
        assert heard == [(0, 3), (1, 3), (2, 3), (3, 3), *[(3, 3)] * 4]
        assert isinstance(generated.image, Image.Image)


def test_two_images_in_turns_are_as_each_alone(model: LoadedModel) -> None:
    requests = asked(steps=3), asked(prompt="another", steps=2, true_cfg_scale=1.0)
    renders = [module.ImageRender(request, 0, model, entry("text_to_image")) for request in requests]
    for render in renders:
        render.prepare()
    while going := [render for render in renders if not render.ready]:
        for render in going:
            render.advance()
    for render, request in zip(renders, requests, strict=True):
        image = render.decode(lambda: None).image
        assert np.array_equal(np.asarray(image), rendered(model, request))


def test_nothing_can_be_done_before_the_image_is_prepared(model: LoadedModel) -> None:
    render = module.ImageRender(asked(), 0, model, entry("text_to_image"))
    assert not render.ready
    with pytest.raises(ValueError, match="not prepared"):
        render.advance()


@pytest.mark.parametrize("shared", [True, False])
def test_the_memory_of_an_image_is_learnt_unless_another_is_under_way(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.setattr(memory_meter, "_peak", lambda device: 10**12)
    plan = Admission(resident_plan("bf16"), Workload(128, 128), 0)
    before = plan.expected_peak(Workload())
    render = module.ImageRender(asked(steps=1), 0, replace(model, admission=plan), entry("text_to_image"))
    if shared:
        render.share()
    render.prepare()
    render.advance()
    render.decode(lambda: None)
    assert (plan.expected_peak(Workload()) == before) is shared
