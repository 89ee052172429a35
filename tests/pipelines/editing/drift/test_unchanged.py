import numpy as np

from pipelines.editing.drift.unchanged import changed_parts, soften_mask
from pipelines.editing.pixels import mix_pixels
from tests.pipelines.editing.drift.sources import texture

SOURCE = texture(160, 200, seed=1)


def _noisy(picture: np.ndarray) -> np.ndarray:
    """As the VAE returns an unchanged picture: all of it differs by some levels."""
    noise = np.random.default_rng(2).normal(0, 4, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def test_only_the_change_is_found() -> None:
    edited = _noisy(SOURCE)
    edited[60:100, 80:140] = (250, 30, 200)
    mask = changed_parts(SOURCE, edited)
    assert mask[60:100, 80:140].min() == 1
    assert mask[:40].max() == mask[120:].max() == 0
    assert 0 < mask[57, 110] <= 1  # the seam


def test_noise_is_no_change() -> None:
    assert changed_parts(SOURCE, _noisy(SOURCE)).max() == 0


def test_a_weak_difference_counts_where_it_belongs_to_a_strong_one() -> None:
    edited = SOURCE.astype(int)
    edited[40:80, 40:80] += 25  # a shadow
    edited[80:110, 40:80] = 0  # of a thing
    edited[130:150, 150:190] += 25  # alone
    mask = changed_parts(SOURCE, edited.clip(0, 255).astype(np.uint8))
    assert mask[45:75, 45:75].min() == 1
    assert mask[130:150, 150:190].max() == 0


def test_outside_of_the_mask_are_the_bytes_of_the_source() -> None:
    edited = _noisy(SOURCE)
    edited[60:100, 80:140] = 0
    mask = changed_parts(SOURCE, edited)
    kept = mix_pixels(SOURCE, edited, mask)
    assert np.array_equal(kept[mask == 0], SOURCE[mask == 0])
    assert np.array_equal(kept[mask == 1], edited[mask == 1])


def test_a_mask_is_wider_by_a_soft_seam() -> None:
    mask = np.zeros((200, 200), np.float32)
    mask[50:150, 50:150] = 1
    soft = soften_mask(mask)
    assert (soft[50:150, 50:150] == 1).all()
    row = soft[100, 40:51]
    assert (np.diff(row) >= 0).all()
    assert row[0] == 0
    assert len(np.unique(row)) > 3
