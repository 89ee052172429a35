"""The vendor's names, and the page on them; run as a module, this prints the page's rows."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient

from pipelines.catalog.models_file import load_catalog
from pipelines.latents import step_noise
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance
from pipelines.request import Reference, RenderRequest, Sampler
from pipelines.sampling.solvers.registry import make_solver
from server.api.runware.schema.schedulers import NEAREST, SAMPLERS, SCHEDULERS, scheduler_name
from tests.fakes import picture
from tests.pipelines.sampling.solvers.flows import solve
from tests.server.api.runware.check.test_rules import errors_of

PAGE = Path(__file__).parents[5] / "docs" / "reference" / "schedulers.md"


def test_the_vendors_75_names() -> None:
    assert len(set(SCHEDULERS)) == 75
    assert scheduler_name(" dpm++ 2m karras ") == "DPM++ 2M Karras"
    assert scheduler_name("DPM") is None


@pytest.mark.parametrize("name", ["TCDScheduler", "dpm++ 3m sde uniform", "DPMSolverMultistepInverse"])
def test_a_listed_name_is_valid(shared_client: TestClient, reference: str, name: str) -> None:
    assert errors_of(shared_client, reference, {"scheduler": name}) == []


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> LoadedModel:
    """It keeps the prompt and the picture from one test to the next."""
    return LoadedModel(checkpoint)


@pytest.fixture(scope="module")
def seed_image(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("seed") / "seed.png"
    path.write_bytes(picture(64, 48))
    return Reference(path, "", 64, 48)


# Few and many steps on every schedule are in the tests of the solvers, on a velocity that costs nothing.
@pytest.mark.parametrize("sampler", {sampler: name for name, sampler in SAMPLERS.items()})
def test_every_name_draws_from_noise_and_from_a_picture(
    model: LoadedModel, seed_image: Reference, sampler: Sampler
) -> None:
    entry = next(entry for entry in load_catalog().entries if entry.mode == "text_to_image")
    plain = RenderRequest(entry.air, "a", None, 64, 48, 1, sampler, 1.0, 7)
    from_picture = replace(plain, seed_image=seed_image, strength=0.6)
    for request, steps in ((plain, 1), (plain, 4), (from_picture, 3)):
        state = prepare(replace(request, steps=steps), 0, model, entry)
        while state.step < state.total:
            advance([state])
        assert state.latents.isfinite().all(), (steps, request.strength)


@pytest.mark.parametrize(("name", "nearest"), NEAREST.items())
def test_what_runs_instead_is_what_is_said(name: str, nearest: str) -> None:
    assert nearest not in NEAREST
    assert SAMPLERS[name] == SAMPLERS[nearest]


def forwards(sampler: Sampler) -> int:
    """Velocities asked for in 20 steps."""
    calls = []

    def velocity(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        calls.append(sigma)
        return sample

    solve(make_solver(sampler, step_noise(1)), velocity, torch.zeros(1, 1, 1), torch.linspace(1, 0, 21))
    return len(calls)


def row(name: str) -> str:
    sampler = SAMPLERS[name]
    noise = "yes" if sampler.stochastic else "no"
    exact = f"nearest: {NEAREST[name]}" if name in NEAREST else "exact"
    return f"| {name} | `{sampler.solver}` | `{sampler.schedule}` | {noise} | {forwards(sampler)} | {exact} |"


def test_the_page_lists_every_name_as_it_runs() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index("| name ") :].split("\n\n")[0].strip().splitlines()
    assert table[2:] == [row(name) for name in SCHEDULERS]


def test_the_page_explains_every_solver_and_schedule() -> None:
    page = PAGE.read_text(encoding="utf-8")
    explained = page[: page.index("| name ")]
    for sampler in SAMPLERS.values():
        assert f"| `{sampler.solver}` |" in explained
        assert f"`{sampler.schedule.removeprefix('uniform_')}`" in explained


if __name__ == "__main__":
    print(*map(row, SCHEDULERS), sep="\n")  # noqa: T201
