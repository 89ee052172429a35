import numpy as np
import pytest
import torch

from pipelines.generate import generate
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from tests.pipelines.render.renders import asked, entry
from tests.pipelines.test_image_render import ignore, rendered


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> LoadedModel:
    return LoadedModel(checkpoint)


def test_it_is_the_render_of_all_steps(model: LoadedModel) -> None:
    request = asked(count=2)
    generated = generate(request, 1, model, entry("text_to_image"), ignore)
    assert np.array_equal(np.asarray(generated.image), rendered(model, request, 1))
    assert (generated.seed, generated.warnings, generated.cache) == (request.seed + 1, (), None)


def test_a_small_model_is_computed_with_one_thread(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    heard: list[int] = []
    try:
        generate(asked(steps=2), 0, model, entry("text_to_image"), lambda *_: heard.append(torch.get_num_threads()))
        assert (heard, torch.get_num_threads()) == ([1, 1, 1], 2)
    finally:
        torch.set_num_threads(threads)


def test_every_step_is_reported(model: LoadedModel) -> None:
    heard: list[tuple[int, int]] = []
    generate(asked(steps=3), 0, model, entry("text_to_image"), lambda *steps: heard.append(steps))
    assert heard == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_report_can_stop_the_image(model: LoadedModel) -> None:
    def stop(step: int, total: int) -> None:
        if step == 2:
            raise Stopped

    with pytest.raises(Stopped):
        generate(asked(steps=3), 0, model, entry("text_to_image"), stop)
