from training.data.pixel_font import GLYPHS
from training.data.scenes import COLOURS, SHAPES, Scene, Thing, Word
from training.samples.scene_arrays import COLUMNS, ROWS, scene_arrays


def test_each_part_of_a_scene_has_its_numbers() -> None:
    thing = Thing("star", "blue", "small", "left", 0.01, -0.02)
    arrays = scene_arrays([Scene("red"), Scene("white", (thing,), Word("日月", "black", "top"))], 256, 256)
    assert arrays.background.tolist() == [list(COLOURS).index("red"), list(COLOURS).index("white")]
    assert arrays.shapes.tolist() == [[-1, -1, -1], [SHAPES.index("star"), -1, -1]]
    assert abs(arrays.places[1, 0] - (*thing.centre, 0.1)).max() < 1e-6
    assert arrays.cells.shape == (2, ROWS, COLUMNS)
    assert not arrays.cells[0].any()
    assert arrays.letters[1].tolist() == [GLYPHS.index("日") + 1, GLYPHS.index("月") + 1, 0, 0, 0]
    assert arrays.boxes[1, 3:].tolist() == [14, 13]
