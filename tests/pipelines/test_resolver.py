"""What a request leaves open is resolved in one place, for the server and for the Python API."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.profiles import CalibrationKey
from pipelines.catalog.schedules import LoraSchedule, ScheduleConflict, SigmaSchedule
from pipelines.request import ControlUse, Outpaint, Reference, RenderRequest, Sampler
from pipelines.resolver import (
    ResolvedSchedule,
    calibration_key,
    resolve_schedule,
    resolve_strength,
    size_from_pictures,
    stretched_pictures,
)

TEXT, EDIT = load_catalog().entries[:2]
FOUR, EIGHT = LoraSchedule(3.0, 0.0, 4, 1.0), LoraSchedule(3.0, 0.0, 8, 1.0)
WIDE, TALL = Reference(Path("wide"), "", 1920, 1080), Reference(Path("tall"), "", 900, 1600)
KARRAS = Sampler("unipc_2", "karras")


def test_the_request_wins_over_its_loras_and_they_over_the_model() -> None:
    own = replace(TEXT, schedule=SigmaSchedule(2.5, 0.1))
    open_values = {"steps": None, "true_cfg_scale": None, "sampler": None}
    assert resolve_schedule(own, {}, **open_values) == ResolvedSchedule(20, 4.0, Sampler(shift=2.5, terminal=0.1))
    made_for = resolve_schedule(own, {1: FOUR}, **open_values)
    assert made_for == ResolvedSchedule(4, 1.0, Sampler(shift=3.0, terminal=0.0))
    given = resolve_schedule(own, {0: FOUR, 1: EIGHT}, steps=6, true_cfg_scale=0.0, sampler=KARRAS)
    assert given == ResolvedSchedule(6, 0.0, replace(KARRAS, shift=3.0, terminal=0.0))


def test_loras_for_different_schedules_conflict() -> None:
    with pytest.raises(ScheduleConflict) as caught:
        resolve_schedule(TEXT, {1: FOUR, 4: EIGHT}, steps=None, true_cfg_scale=None, sampler=None)
    assert (caught.value.first, caught.value.second) == (1, 4)


def test_outpainting_starts_from_noise() -> None:
    assert (resolve_strength(None, None), resolve_strength(None, Outpaint(top=64))) == (0.8, 1.0)
    assert resolve_strength(0.0, Outpaint(top=64)) == 0.0


def test_the_pictures_decide_the_size() -> None:
    assert size_from_pictures(EDIT, [WIDE], None, None) == (1376, 768)
    assert size_from_pictures(EDIT, [WIDE, TALL], WIDE, None) == (768, 1376)
    assert size_from_pictures(EDIT, [TALL], WIDE, Outpaint(top=8, left=16, right=16)) == (1952, 1088)
    assert size_from_pictures(TEXT, [], WIDE, None) is None


def test_a_calibration_depends_on_the_size_that_is_rendered() -> None:
    key = calibration_key(TEXT, 20, 1.0, (512, 256), loras=True)
    assert key == CalibrationKey(20, guided=False, area=512 * 256, loras=True)
    native = replace(TEXT, native_area=128 * 128)
    assert calibration_key(native, 20, 4.0, (512, 256), loras=False) == CalibrationKey(20, guided=True, area=128 * 128)


def test_pictures_of_another_aspect_are_stretched() -> None:
    request = RenderRequest("", "a", None, 960, 544, 3, Sampler(), 4.0, 7, seed_image=TALL)
    request = replace(request, controls=(ControlUse("a", "", WIDE), ControlUse("b", "", TALL)))
    assert dict(stretched_pictures(request)) == {"controls[1].control_image": TALL, "seed_image": TALL}
    assert dict(stretched_pictures(replace(request, outpaint=Outpaint(top=8)))) == {"controls[1].control_image": TALL}
