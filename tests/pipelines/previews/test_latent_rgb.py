from dataclasses import replace

from pipelines.catalog.models_file import load_catalog
from pipelines.previews.latent_rgb import latent_rgb


def test_each_model_has_the_map_of_its_vae() -> None:
    real = load_catalog()
    embedded = real.with_embedded_weights()
    maps = {latent_rgb(entry) for entry in real.entries}, {latent_rgb(entry) for entry in embedded.entries}
    assert [len(found) for found in maps] == [1, 1]
    assert maps[0] != maps[1]


def test_they_have_a_row_for_each_channel() -> None:
    entry = load_catalog().entries[0]
    for found in (latent_rgb(entry), latent_rgb(replace(entry, weights="another"))):
        assert [len(row) for row in found.factors] == [3] * 16
        assert len(found.bias) == 3
