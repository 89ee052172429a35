import pytest

from training.timed.timetable import STAGES, World, order, sample_tokens, stage_at


def test_small_pictures_come_first_and_letters_before_words() -> None:
    assert stage_at(0.0).grids == stage_at(0.4).grids
    areas = [max(rows * columns for rows, columns in stage_at(share).grids) * 256 for share in (0.0, 0.5, 1.0)]
    assert areas == [128 * 128, 256 * 256, 256 * 256]
    assert stage_at(0.0).tasks["letters"] > stage_at(0.9).tasks["letters"]
    assert stage_at(0.0).tasks["words"] < stage_at(0.9).tasks["words"]


def test_shares_are_whole() -> None:
    for stage in STAGES:
        assert sum(stage.grids.values()) == pytest.approx(1)
        assert sum(stage.tasks.values()) == pytest.approx(1)


def test_aspects_have_the_area_of_the_square() -> None:
    for stage in STAGES:
        square = max(rows * columns for rows, columns in stage.grids if rows == columns)
        assert all(0.9 < rows * columns / square < 1.01 for rows, columns in stage.grids)


def test_a_batch_fits_the_tokens() -> None:
    for number in range(50):
        asked = order(number, 0.9, 0, 64, 16_384, World())
        assert asked == order(number, 0.9, 0, 64, 16_384, World())
        assert asked.count * sample_tokens(asked.task, asked.grid) <= 16_384
    assert order(0, 0.9, 0, 64, 1, World()).count == 1
    counts = [order(number, share, 0, 64, 10**9, World()).count for share in (0.0, 0.9) for number in range(9)]
    assert min(counts[:9]) >= 4 * 64
    assert 64 <= min(counts[9:]) <= max(counts[9:]) < 70
    assert sample_tokens("combine", (16, 16)) > sample_tokens("edit", (16, 16)) > sample_tokens("words", (16, 16))


def test_a_smaller_world_keeps_to_its_texts_and_size() -> None:
    orders = [
        order(number, share, 0, 64, 10**9, World("capitals", 128)) for share in (0.0, 0.9) for number in range(30)
    ]
    assert {asked.texts for asked in orders} == {"capitals"}
    assert max(rows * columns for rows, columns in (asked.grid for asked in orders)) == 64
