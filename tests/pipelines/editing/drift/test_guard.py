from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.editing.drift.guard import ALL_CHANGED, NOT_MATCHED, Guarded, guard_image
from pipelines.editing.drift.registration import Drift
from pipelines.errors import PictureError
from pipelines.request import DriftGuard, Reference, RenderRequest, Sampler
from tests.pipelines.editing.drift.sources import corner_error, drifted, texture

SOURCE = texture(160, 208, seed=1)
DRIFT = Drift(4.2, -2.4, 1.01)
ALIGN = DriftGuard(0, align=True)


def _request(tmp_path: Path, *pictures: np.ndarray) -> RenderRequest:
    references = []
    for number, picture in enumerate(pictures):
        path = tmp_path / f"{number}.png"
        Image.fromarray(picture).save(path)
        references.append(Reference(path, "", picture.shape[1], picture.shape[0]))
    return RenderRequest("m", "p", None, 208, 160, 4, Sampler(), 1.0, 1, references=tuple(references))


def _guard(edited: np.ndarray, guard: DriftGuard, request: RenderRequest) -> Guarded:
    return guard_image(Image.fromarray(edited), guard, request)


def test_a_drifted_image_is_moved_back(tmp_path: Path) -> None:
    edited = drifted(SOURCE, DRIFT)
    guarded = _guard(edited, ALIGN, _request(tmp_path, SOURCE))
    assert guarded.drift is not None
    assert guarded.drift.moved_back
    found = Drift(guarded.drift.dx, guarded.drift.dy, guarded.drift.scale)
    assert corner_error(found, DRIFT, 160, 208) < 0.3
    inner = np.s_[15:-15, 15:-15]
    assert np.abs(np.asarray(guarded.image)[inner].astype(int) - SOURCE[inner]).mean() < 5
    assert np.abs(edited[inner].astype(int) - SOURCE[inner]).mean() > 8
    (warning,) = guarded.warnings
    assert warning.startswith("The image had drifted from its source: +4.")
    assert warning.endswith("It was moved back.")


@pytest.mark.parametrize("edited", [SOURCE, drifted(SOURCE, Drift(0.02, 0.02, 1.0))], ids=["equal", "hardly moved"])
def test_an_image_in_its_place_is_not_resampled(edited: np.ndarray, tmp_path: Path) -> None:
    guarded = _guard(edited, ALIGN, _request(tmp_path, SOURCE))
    assert np.array_equal(np.asarray(guarded.image), edited)
    assert guarded.drift is not None
    assert not guarded.drift.moved_back
    assert guarded.warnings[0].endswith("It was left as it is.")


def test_an_image_that_does_not_match_is_left_and_said(tmp_path: Path) -> None:
    other = texture(160, 208, seed=9)
    guarded = _guard(other, ALIGN, _request(tmp_path, SOURCE))
    assert np.array_equal(np.asarray(guarded.image), other)
    assert (guarded.drift, guarded.warnings) == (None, (NOT_MATCHED,))


def test_unchanged_pixels_are_the_aligned_sources(tmp_path: Path) -> None:
    changed = SOURCE.copy()
    changed[60:100, 80:130] = (250, 30, 200)
    guard = DriftGuard(0, align=True, keep="auto")
    guarded = np.asarray(_guard(drifted(changed, DRIFT), guard, _request(tmp_path, SOURCE)).image)
    assert np.array_equal(guarded[20:40, 20:-20], SOURCE[20:40, 20:-20])
    assert np.abs(guarded[65:95, 85:125].astype(int) - (250, 30, 200)).mean() < 5


def test_a_mask_says_where_the_image_may_differ(tmp_path: Path) -> None:
    mask = np.zeros((80, 104, 3), np.uint8)  # of half the size
    mask[:, 52:] = 255
    request = _request(tmp_path, SOURCE, mask)
    edited = np.zeros_like(SOURCE)
    guarded = np.asarray(_guard(edited, DriftGuard(0, keep=request.references[1]), request).image)
    assert np.array_equal(guarded[:, :95], SOURCE[:, :95])
    assert not guarded[:, 110:].any()


def test_an_image_that_has_changed_everywhere_is_left_and_said(tmp_path: Path) -> None:
    edited = 255 - SOURCE
    edited[edited > 100] = 0
    guarded = _guard(edited, DriftGuard(0, keep="auto"), _request(tmp_path, SOURCE))
    assert np.array_equal(np.asarray(guarded.image), edited)
    assert guarded.warnings == (ALL_CHANGED,)


def test_the_source_may_have_another_size(tmp_path: Path) -> None:
    large = np.asarray(Image.fromarray(SOURCE).resize((416, 320), Image.Resampling.LANCZOS))
    guarded = _guard(drifted(SOURCE, DRIFT), ALIGN, _request(tmp_path, large))
    assert guarded.drift is not None
    assert guarded.drift.moved_back
    found = Drift(guarded.drift.dx, guarded.drift.dy, guarded.drift.scale)
    assert corner_error(found, DRIFT, 160, 208) < 0.3


def test_a_source_that_is_gone_is_an_error_with_its_path(tmp_path: Path) -> None:
    request = _request(tmp_path, SOURCE)
    request.references[0].path.unlink()
    with pytest.raises(PictureError) as caught:
        _guard(SOURCE, ALIGN, request)
    assert caught.value.path == "references[0]"


def test_the_source_is_the_named_reference_or_the_seed_image(tmp_path: Path) -> None:
    request = _request(tmp_path, SOURCE, texture(160, 208, seed=2))
    seeded = replace(request, seed_image=request.references[1])
    keep = "auto"
    unchanged = (DriftGuard(0, align=True, keep=keep), request), (DriftGuard(None, align=True, keep=keep), seeded)
    for (guard, asked), edited in zip(unchanged, (SOURCE, texture(160, 208, seed=2)), strict=True):
        assert _guard(edited, guard, asked).drift is not None
        assert np.array_equal(np.asarray(_guard(edited, guard, asked).image), edited)
    assert _guard(SOURCE, DriftGuard(1, align=True), request).warnings == (NOT_MATCHED,)
    for guard in (DriftGuard(None), DriftGuard(2)):
        with pytest.raises(LookupError):
            _guard(SOURCE, guard, request)
    assert (DriftGuard(None).source, DriftGuard(1).source) == ("seed_image", "references[1]")


def test_a_bad_color_profile_of_the_source_is_not_warned_of_again(tmp_path: Path) -> None:
    path = tmp_path / "profiled.png"
    Image.fromarray(SOURCE).save(path, icc_profile=b"no profile")
    request = _request(tmp_path, SOURCE)
    profiled = replace(request, references=(replace(request.references[0], path=path),))
    assert _guard(SOURCE, DriftGuard(0, keep="auto"), profiled).warnings == ()
