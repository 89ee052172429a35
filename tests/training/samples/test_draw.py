import numpy as np
import pytest
import torch

from training.data.layout import layout_labels
from training.data.random_scenes import LITERATE, random_scene
from training.data.scenes import Scene, Thing, Word, draw_scene
from training.samples.draw import DeviceScenes
from training.samples.scene_arrays import scene_arrays
from training.trainers.vae import to_pixels

RNG = np.random.default_rng(0)
SCENES = [
    *(random_scene(RNG, LITERATE) for _ in range(15)),
    Scene("white"),
    Scene("red", (Thing("star", "blue", "small", "top left", 0.02, -0.01),), Word("日月山", "black", "bottom")),
    Scene("red", (), Word("hello", "black", "top")),
]


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (12, 20), pytest.param(20, 12, marks=pytest.mark.slow)])
def test_a_device_draws_what_numpy_draws(rows: int, columns: int) -> None:
    width, height = 16 * columns, 16 * rows
    scenes = DeviceScenes(scene_arrays(SCENES, width, height), torch.device("cpu"))
    drawn = torch.stack([to_pixels(draw_scene(scene, width, height)) for scene in SCENES])
    difference = (scenes.draw(width, height) - drawn).abs() * 127.5
    assert difference.max() < 1.01  # one level of 256, where two roundings differ
    assert (difference > 0.5).float().mean() < 0.001
    labels = torch.from_numpy(np.stack([layout_labels(scene, rows, columns) for scene in SCENES]))
    assert (scenes.labels(rows, columns) != labels).float().mean() < 1e-4
