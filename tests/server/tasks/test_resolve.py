from dataclasses import replace

import pytest

from accel.cache.plan import CachePlan
from accel.cache.profile import load_profile
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.profiles import Profiles
from pipelines.request import Outpaint, Reference, RenderRequest
from server.media.store import Media
from server.tasks.resolve import to_request
from server.tasks.spec import ControlSpec, TaskSpec
from tests.server.tasks.common import CATALOG, EDIT, PHOTO, SPEC

PROFILES = Profiles(CATALOG)
UNSIZED = replace(SPEC, model=EDIT, width=None, height=None)
TALL = replace(PHOTO, width=900, height=1600)


def resolved(spec: TaskSpec, *references: Media, **pictures: Media) -> RenderRequest:
    found = {f"references[{number}]": picture for number, picture in enumerate(references)} | pictures
    return to_request(replace(spec, references=("x",) * len(references)), found, PROFILES)[0]


def test_what_a_task_says_is_what_is_rendered() -> None:
    request, warnings = to_request(replace(SPEC, seed=7, count=3), {}, PROFILES)
    assert (request.model, request.prompt, request.width, request.height) == (SPEC.model.air, "a", 512, 256)
    assert (request.seed, request.count, request.cache, warnings) == (7, 3, None, ())
    assert (request.watermark, resolved(replace(SPEC, watermark="me")).watermark) == (None, "me")


def test_a_seed_that_nobody_chose_has_32_bits() -> None:
    seeds = {to_request(SPEC, {}, PROFILES)[0].seed for _ in range(4)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_an_edit_without_a_size_is_like_its_last_reference() -> None:
    one, both = resolved(UNSIZED, PHOTO), resolved(UNSIZED, PHOTO, TALL)
    assert (one.width, one.height) == (1376, 768)
    assert (both.width, both.height) == (768, 1376)
    assert [(reference.width, reference.height) for reference in both.references] == [(1920, 1080), (900, 1600)]


def test_or_like_the_picture_that_its_dialect_names() -> None:
    request = resolved(replace(UNSIZED, size_picture="references[0]"), PHOTO, TALL)
    assert (request.width, request.height) == (1376, 768)


def test_an_extended_picture_without_a_size_has_the_sums() -> None:
    seed_image = replace(PHOTO, width=320, height=240)
    request = resolved(replace(UNSIZED, outpaint=Outpaint(top=16, left=32)), PHOTO, seed_image=seed_image)
    assert (request.width, request.height) == (352, 256)


def test_pictures_stand_where_their_texts_stood() -> None:
    control = ControlSpec("union", "/nets/union", "guide", 0.5, "prompt", 2, 9)
    spec = replace(SPEC, seed_image="s", mask="m", controls=(control,), strength=0.5)
    pictures = {"seed_image": PHOTO, "mask": TALL, "controls[0].control_image": PHOTO}
    request, _ = to_request(spec, pictures, PROFILES)
    photo = Reference(PHOTO.path, "hash", 1920, 1080)
    assert (request.seed_image, request.mask) == (photo, replace(photo, width=900, height=1600))
    (use,) = request.controls
    assert (use.name, use.weights, use.control_image) == ("union", "/nets/union", photo)
    assert (use.weight, use.mode, use.start, use.end) == (0.5, "prompt", 2, 9)


@pytest.mark.parametrize(("width", "height", "outpaint", "said"), [
    (1024, 576, None, ""),
    (512, 512, None, "my image is 1920×1080 pixels, so it is stretched to 512×512."),
    (512, 512, Outpaint(top=16), ""),
])  # fmt: skip
def test_a_stretched_seed_image_is_said(width: int, height: int, outpaint: Outpaint | None, said: str) -> None:
    spec = replace(SPEC, seed_image="s", width=width, height=height, outpaint=outpaint)
    spec = replace(spec, parameters={"seed_image": "my image"})
    assert "".join(to_request(spec, {"seed_image": PHOTO}, PROFILES)[1]) == said


def test_a_stretched_control_image_is_said() -> None:
    control = ControlSpec("union", "/nets/union", "guide", 0.5, "prompt", 2, 9)
    spec = replace(SPEC, controls=(control,), parameters={"controls[0].control_image": "edges"})
    (warning,) = to_request(spec, {"controls[0].control_image": PHOTO}, PROFILES)[1]
    assert warning == "edges is 1920×1080 pixels, so it is stretched to 512×256."


class TestCache:
    PLAN = CachePlan("teacache", 0.5, 3, 18, 3)

    def test_a_threshold_of_the_other_caches_stays(self) -> None:
        plan = CachePlan("fbcache", 0.25, 3, 18, 3)
        assert to_request(replace(SPEC, cache=plan), {}, PROFILES)[0].cache == plan

    @pytest.mark.parametrize("scale", [1.0, 4.0])
    def test_teacache_runs_with_the_figures_of_guidance_on_or_off(self, scale: float) -> None:
        spec = replace(SPEC, cache=self.PLAN, true_cfg_scale=scale, steps=28)
        request, warnings = to_request(spec, {}, PROFILES)
        profile = load_profile("embedded")
        assert request.cache == replace(
            self.PLAN,
            threshold=profile.factor * 0.5,
            profile="embedded",
            curve=profile.nearest_fit(28, guided=scale > 1).curve,
        )
        assert warnings == ()

    def test_what_is_doubtful_about_the_figures_is_said_under_the_clients_name(self) -> None:
        edit = load_catalog().entries[1]
        spec = replace(SPEC, model=edit, cache=self.PLAN, parameters={"cache": "tea"})
        (warning, *_) = to_request(spec, {}, Profiles(load_catalog()))[1]
        assert warning.startswith("tea: ")
        assert "measured on text to image" in warning


@pytest.mark.parametrize(("prompt", "told"), [("a red circle", False), ("a photograph of a cat", True)])
def test_a_prompt_beyond_the_vocabulary_of_small_weights_is_told_once(prompt: str, told: bool) -> None:
    spec = replace(SPEC, prompt=prompt, negative_prompt="ugly hands", count=3, parameters={"prompt": "positivePrompt"})
    _, warnings = to_request(spec, {}, PROFILES)
    assert [text.split(":")[0] for text in warnings] == ["positivePrompt"] * told
    _, warnings = to_request(replace(spec, model=load_catalog().entries[0]), {}, PROFILES)
    assert warnings == ()
