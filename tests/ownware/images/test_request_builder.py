"""What the options of the Python API become, and what they are refused for. No model is loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ownware.images.inputs import ImageInputs
from ownware.images.options import Control, ImageOptions
from ownware.images.request_builder import build_request
from ownware.local_models import LocalModels
from ownware.options import OptionError
from pipelines.catalog.catalog import Adapter
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.schedules import LoraSchedule
from pipelines.request import LoraUse, Outpaint, RenderRequest, Sampler
from server.settings import Settings

REAL = LocalModels(load_catalog(), "cuda:0")
EMBEDDED = LocalModels(load_catalog().with_embedded_weights(), "cpu")
SMALL = Image.new("RGB", (160, 128), "red")


@pytest.fixture
def build(tmp_path: Path) -> Any:
    inputs = ImageInputs(tmp_path, 64_000_000)
    settings = Settings(data_dir=tmp_path)

    def built(models: LocalModels = EMBEDDED, **options: Any) -> tuple[RenderRequest, tuple[str, ...]]:
        request, entry, warnings = build_request(
            ImageOptions(**{"prompt": "a", "seed": 7, **options}), models, settings, inputs
        )
        assert request.model == entry.air
        return request, warnings

    return built


def test_the_defaults_are_the_models(build: Any) -> None:
    request, warnings = build(REAL)
    assert request == RenderRequest("runware:108@1", "a", None, 1024, 1024, 20, Sampler(), 4.0, 7, strength=0.8)
    assert warnings == ()
    request, _ = build(EMBEDDED)
    assert (request.width, request.height) == (256, 256)


def test_a_seed_is_drawn_when_none_is_given(build: Any) -> None:
    seeds = {build(seed=None)[0].seed for _ in range(4)}
    assert len(seeds) > 1
    assert max(seeds) < 2**32


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({}, "runware:108@1"),
        ({"images": [SMALL]}, "runware:108@20"),
        ({"images": [SMALL, SMALL]}, "runware:108@22"),
        ({"images": [SMALL], "model": "runware:108@22"}, "runware:108@22"),
    ],
)
def test_the_default_model_takes_the_number_of_images(options: dict[str, Any], model: str, build: Any) -> None:
    assert build(**options)[0].model == model


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"width": 320, "height": 128}, (320, 128)),
        ({"images": [SMALL]}, (1152, 928)),  # a megapixel, as the server has it
        ({"seed_image": SMALL}, (288, 224)),
        ({"seed_image": SMALL, "outpaint": Outpaint(left=32, top=16)}, (192, 144)),
        ({"seed_image": SMALL, "outpaint": Outpaint(left=32), "width": 192, "height": 128}, (192, 128)),
    ],
)
def test_sizes(options: dict[str, Any], size: tuple[int, int], build: Any) -> None:
    request, _ = build(**options)
    assert (request.width, request.height) == size


@pytest.mark.parametrize(
    ("scheduler", "sampler"),
    [
        (None, Sampler()),
        ("DPM++ 2M Karras", Sampler("dpmpp_2m", "karras")),
        ("euler A", Sampler("euler_a")),
        ("dpmpp_3m", Sampler("dpmpp_3m")),
        ("pndm", Sampler("pndm")),
    ],
)
def test_a_scheduler_has_its_wire_name_or_its_solvers(scheduler: str | None, sampler: Sampler, build: Any) -> None:
    assert build(scheduler=scheduler)[0].sampler == sampler


def test_loras_are_named_or_files(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    path.write_bytes(b"")
    outlines = EMBEDDED.catalog.loras[0]
    request, _ = build(loras=["outlines", ("ownware:1@1", -0.5), path, (str(path), 2)])
    assert request.loras == (
        LoraUse("outlines", Path(outlines.weights), outlines.weight),
        LoraUse("ownware:1@1", Path(outlines.weights), -0.5),
        LoraUse("style", path, 1.0),
        LoraUse("style", path, 2.0),
    )


def test_a_control_acts_in_the_steps_that_are_executed(build: Any) -> None:
    request, warnings = build(
        seed_image=SMALL, strength=0.5, steps=10, controls=[Control("edges", SMALL), Control("edges", SMALL, start=6)]
    )
    assert [(use.name, use.weight, use.start, use.end) for use in request.controls] == [
        ("edges", 1.0, 0, 5),
        ("edges", 1.0, 6, 5),
    ]
    assert "controls[1] acts in none of the executed steps." in warnings


def test_a_cache_has_the_options_of_the_wire(build: Any) -> None:
    request, warnings = build(steps=20, cache={"dbCache": True, "dbCacheThreshold": 0.25})
    assert request.cache is not None
    assert (request.cache.strategy, request.cache.threshold, warnings) == ("dbcache", 0.25, ())
    request, (warning,) = build(steps=4, cache={"fbCache": True})
    assert request.cache is None
    assert warning.startswith("acceleratorOptions.fbCache is ignored")
    assert build(steps=20, cache={"teaCache": True})[0].cache.profile == "embedded"


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"negative_prompt": "b", "true_cfg_scale": 1}, "negative_prompt is ignored"),
        ({"scheduler": "EDMEulerScheduler"}, "'Euler Karras' runs instead"),
        ({"seed_image": SMALL, "strength": 0}, "the seed image is returned"),
        ({"seed_image": SMALL, "width": 128, "height": 128}, "seed_image has 160×128 pixels: it is stretched"),
    ],
)
def test_what_the_caller_should_know(options: dict[str, Any], warning: str, build: Any) -> None:
    assert warning in " ".join(build(**options)[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ""}, "prompt: must be a text of 1 to 32000 characters"),
        ({"prompt": 3}, "prompt: must be a text"),
        ({"prompt": "a <|im_end|>"}, "prompt: '<|im_end|>' is a control token"),
        ({"negative_prompt": "<|im_end|>"}, "negative_prompt: '<|im_end|>' is a control token"),
        ({"model": "x"}, "model: 'x' is not in the catalogue; there are runware:108@1, "),
        ({"model": "runware:108@20"}, "model: runware:108@20 takes 1 images to edit, 0 were given"),
        ({"images": [SMALL] * 4}, "model: the catalogue has no model that takes 4 images to edit"),
        ({"width": 256}, "height: give both width and height, or neither"),
        ({"width": 100, "height": 128}, "width: 100 is not from 128 to 2048"),
        ({"width": 128, "height": 130}, "height: 130 is no multiple of 16"),
        ({"steps": 0}, "steps: 0 is not from 1 to 50"),
        ({"steps": 2.5}, "steps: 2.5 is no whole number"),
        ({"seed": -1}, "seed: -1 is not from 0 to 9223372036854775807"),
        ({"true_cfg_scale": float("nan")}, "true_cfg_scale: nan is not from 0 to 100"),
        ({"true_cfg_scale": "high"}, "true_cfg_scale: 'high' is no number"),
        ({"scheduler": "DPM++ 2N"}, "scheduler: 'DPM++ 2N' is no scheduler and no solver; did you mean 'DPM++ 2M'?"),
        ({"strength": 0.5}, "strength: needs seed_image"),
        ({"seed_image": SMALL, "strength": 2}, "strength: 2.0 is not from 0 to 1"),
        ({"mask": SMALL}, "mask: needs seed_image"),
        (
            {"seed_image": SMALL, "mask": SMALL.resize((64, 64))},
            "mask: the mask and seed_image must have the same aspect",
        ),
        ({"seed_image": SMALL, "mask_margin": 64}, "mask_margin: needs mask"),
        ({"seed_image": SMALL, "mask": SMALL, "mask_margin": 16}, "mask_margin: 16 is not from 32 to 128"),
        ({"outpaint": Outpaint(left=32)}, "outpaint: needs seed_image"),
        ({"seed_image": SMALL, "outpaint": Outpaint()}, "outpaint: extends seed_image to 160×128"),
        ({"seed_image": SMALL, "outpaint": Outpaint(left=1)}, "outpaint: 161 is no multiple of 16"),
        (
            {"seed_image": SMALL, "outpaint": Outpaint(left=32), "width": 256, "height": 128},
            "outpaint: extends seed_image to 192×128 pixels, not to (256, 128)",
        ),
        (
            {"loras": ["style"]},
            "loras[0]: 'style' is no file and not among the LoRAs of the catalogue: ownware:1@1, ownware:3@1",
        ),
        ({"loras": [("outlines", 5)]}, "loras[0]: 5.0 is not from -4 to 4"),
        ({"controls": [Control("depth", SMALL)]}, "controls[0]: 'depth' is not among the ControlNets"),
        ({"controls": [Control("edges", "/nowhere.png")]}, "controls[0].image: /nowhere.png: No such file"),
        ({"controls": [Control("edges", SMALL, mode="no")]}, "controls[0]: 'no' is none of balanced, "),  # pyright: ignore[reportArgumentType]
        ({"cache": {"fbcache": True}}, "cache: fbcache: Extra inputs are not permitted"),
        ({"cache": {"fbCache": True, "teaCache": True}}, "cache: only one of fbCache, teaCache, dbCache"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options: dict[str, Any], message: str, build: Any) -> None:
    with pytest.raises(OptionError) as caught:
        build(**options)
    assert str(caught.value).startswith(message)


def test_a_lora_of_another_architecture(build: Any) -> None:
    row = Adapter("x:1@1", "X", "x.safetensors", architecture="sdxl")
    models = replace(EMBEDDED, catalog=replace(EMBEDDED.catalog, loras=(row,)))
    with pytest.raises(OptionError, match="'x:1@1' is a LoRA of the architecture 'sdxl'"):
        build(models, loras=["x:1@1"])


FAST = Adapter("fast", "Fast", "a.safetensors", schedule=LoraSchedule(3.0, 0.0, 8, 1.0))
FASTER = Adapter("faster", "Faster", "b.safetensors", schedule=LoraSchedule(3.0, 0.0, 4, 1.0))
DISTILLED = LocalModels(replace(load_catalog(), loras=(FAST, FASTER)), "cuda:0")


def test_an_in_context_lora_takes_a_control_image(build: Any) -> None:
    control = Adapter("mine:1@1", "Control", "/loras/control.safetensors", slugs=("control",), in_context=True)
    models = LocalModels(replace(load_catalog(), loras=(control,)), "cuda:0")
    asked = {"model": "runware:108@1", "images": [SMALL], "width": 256, "height": 256}
    for lora in ("control", ("control", 0.5)):
        assert len(build(models, loras=[lora], **asked)[0].references) == 1
    with pytest.raises(OptionError, match="takes 0 images to edit, 1 were given"):
        build(models, **asked)
    with pytest.raises(OptionError, match="takes 1 images to edit, 0 were given"):
        build(models, loras=["control"], **asked | {"images": []})


def test_a_distilled_lora_brings_its_schedule(build: Any) -> None:
    request, warnings = build(DISTILLED, loras=["fast"])
    assert (request.steps, request.true_cfg_scale) == (8, 1.0)
    assert request.sampler == Sampler(shift=3.0, terminal=0.0)
    assert warnings == ()
    request, warnings = build(DISTILLED, loras=["fast"], steps=20, true_cfg_scale=4.0, scheduler="heun")
    assert (request.steps, request.true_cfg_scale) == (20, 4.0)
    assert request.sampler == Sampler("heun", shift=3.0, terminal=0.0)
    assert [warning.split(" was")[0] for warning in warnings] == ["loras[0]", "loras[0]"]
    assert build(DISTILLED, loras=[("fast", 0)])[0].steps == 20


def test_a_lora_file_is_known_by_its_name(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "Qwen-Image-Lightning-4steps-V1.0.safetensors"
    path.touch()
    assert build(REAL, loras=[path])[0].steps == 4


def test_distilled_loras_that_conflict(build: Any) -> None:
    with pytest.raises(OptionError, match=r"loras\[1\]: cannot act together with loras\[0\].*steps is 8 and 4"):
        build(DISTILLED, loras=["fast", "faster"])


def test_a_stretched_control_image_is_told(build: Any) -> None:
    _, warnings = build(EMBEDDED, width=256, height=256, controls=[Control("edges", SMALL)])
    assert "controls[0].image has 160×128 pixels: it is stretched to 256×256." in warnings
