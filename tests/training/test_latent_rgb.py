import tomllib

import torch

from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import Checkpoint
from pipelines.previews.latent_rgb import LatentRgb, latent_rgb
from training.latent_rgb import fit, samples, table


def explained(rgb: LatentRgb, latents: torch.Tensor, colours: torch.Tensor) -> float:
    """The share of the colours' variance that the map explains."""
    error = latents @ torch.tensor(rgb.factors) + torch.tensor(rgb.bias) - colours
    return 1 - float(error.square().mean() / (colours - colours.mean(0)).square().mean())


def test_a_linear_map_is_found_again() -> None:
    latents = torch.randn(500, 16)
    true = torch.randn(16, 3)
    found = fit(latents, latents @ true + 0.25)
    torch.testing.assert_close(torch.tensor(found.factors), true, atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.tensor(found.bias), torch.full((3,), 0.25), atol=1e-3, rtol=0)
    assert explained(found, latents, latents @ true + 0.25) > 0.999
    read = tomllib.loads(table(found))["embedded"]
    assert [tuple(row) for row in read["factors"]] == list(found.factors)


def test_what_is_shipped_shows_scenes_that_it_was_not_fitted_to(trained: Checkpoint) -> None:
    shipped = latent_rgb(load_catalog().with_embedded_weights().entries[0])
    assert explained(shipped, *samples(trained.vae, 4, 1, held_out=True)) > 0.95
