from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog.catalog import (
    REFERENCES,
    choose_by_references,
    reference_limits,
)
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.own_lora import OwnLora
from tests.pipelines.catalog.models_files import lora, row, written


def test_the_built_in_models() -> None:
    catalog = load_catalog()
    assert {entry.mode for entry in catalog.entries} == set(REFERENCES)
    assert not any(entry.embedded for entry in catalog.entries)


def test_models_are_found_by_identifier_and_slug_in_any_case() -> None:
    catalog = load_catalog()
    for entry in catalog.entries:
        for name in (entry.air, *entry.slugs):
            assert catalog.find(f" {name.upper()} ") is entry
    assert catalog.find("runware:999@1") is None


def test_a_dialect_has_names_of_its_own(tmp_path: Path) -> None:
    names = 'names = { openai = ["Both", "first"], other = ["first"] }\n'
    text = row("a:1@1", "a") + names + row("b:1@1", "b") + 'names = { openai = ["both"] }\n'
    catalog = load_catalog(written(tmp_path, text))
    first, second = catalog.entries
    assert catalog.named("openai", " BOTH ") == (first, second)
    assert catalog.named("other", "First") == (first,)
    assert catalog.named("other", "both") == catalog.named("none", "first") == ()
    assert catalog.named("none", "B") == catalog.named("openai", "b:1@1") == (second,)
    assert catalog.find("both") is None
    assert {first, second}


def test_embedded_weights_keep_everything_but_weights_and_areas() -> None:
    for real, small in zip(load_catalog().entries, load_catalog().with_embedded_weights().entries, strict=True):
        assert small.embedded
        assert (small.air, small.mode, small.steps, small.true_cfg_scale) == (
            real.air,
            real.mode,
            real.steps,
            real.true_cfg_scale,
        )
        assert small.reference_area < real.reference_area
        assert small.condition_area < real.condition_area
        assert small.native_area == small.reference_area
        assert real.native_area is None


@pytest.mark.parametrize(
    ("weights", "more", "expected"),
    [
        ("owner/repository/fast.safetensors", "", False),
        ("owner/repository/fast.safetensors", "in_context = true", True),
        ("DiffSynth-Studio/Qwen-Image-In-Context-Control-Union/model.safetensors", "", True),
        ("loras/qwen_image_union_diffsynth_lora.safetensors", "", True),
    ],
)
def test_an_in_context_lora_takes_one_reference(tmp_path: Path, weights: str, more: str, expected: bool) -> None:
    catalog = load_catalog(written(tmp_path, row() + lora("loras", weights) + more))
    assert catalog.loras[0].in_context is expected
    assert reference_limits(catalog.entries[0], catalog.loras) == ((1, 1) if expected else (0, 0))
    edit = next(entry for entry in load_catalog().entries if entry.mode == "edit_plus")
    assert reference_limits(edit, catalog.loras) == (1, 3)
    with_it = replace(catalog.entries[0], loras=(OwnLora(weights),))
    assert reference_limits(with_it, ()) == ((1, 1) if expected and not more else (0, 0))


def test_one_name_is_a_distilled_model() -> None:
    catalog = load_catalog()
    base, lightning = catalog.find("qwen-image"), catalog.find("Qwen-Image-Lightning@8")
    assert base is not None
    assert lightning is not None
    assert (lightning.steps, lightning.true_cfg_scale) == (8, 1.0)
    assert lightning.files == base.files  # loaded once for both
    for entry in catalog.entries:
        made_for = entry.made_for
        assert not entry.loras or (made_for.steps, made_for.true_cfg_scale) == (entry.steps, entry.true_cfg_scale)
        assert (entry.schedule.shift, entry.schedule.terminal) == (made_for.shift, made_for.terminal)


def test_the_embedded_add_ons_come_with_the_embedded_weights_only() -> None:
    real = load_catalog()
    small = real.with_embedded_weights()
    assert (real.loras, real.controlnets) == ((), ())
    for name, found in (
        ("ownware:1@1", small.find_lora("outlines")),
        ("ownware:3@1", small.find_lora("lightning")),
        ("ownware:2@1", small.find_controlnet("edges")),
    ):
        assert found is not None
        assert found.air == name
        assert Path(found.weights).exists()
        assert real.find_lora(name) is real.find_controlnet(name) is None


@pytest.mark.parametrize("mode", ["text_to_image", "edit", "edit_plus"])
def test_what_the_embedded_weights_can_do_belongs_to_them(tmp_path: Path, mode: str) -> None:
    text = row(weights="embedded").replace("text_to_image", mode)
    other = row(weights="owner/name").replace("text_to_image", mode)
    catalog = load_catalog(written(tmp_path, text + row("mine:2@1", "other", "owner/name")))
    replaced = load_catalog(written(tmp_path, other)).with_embedded_weights()
    assert catalog.entries[0] == replaced.entries[0]
    assert catalog.entries[1].native_area is None
    assert (catalog.loras, catalog.controlnets) == (replaced.loras, replaced.controlnets)
    assert catalog.with_embedded_weights().loras == catalog.loras


def test_the_models_file_goes_before_embedded_add_ons(tmp_path: Path) -> None:
    names = 'air = "mine:2@1"\nslugs = ["Outlines", "lightning"]\nname = "Mine"\n'
    lora = f'\n[[loras]]\n{names}weights = "mine.safetensors"\n'
    small = load_catalog(written(tmp_path, row(slug="edges") + lora)).with_embedded_weights()
    assert [lora.air for lora in small.loras] == ["mine:2@1"]
    assert small.controlnets == ()


def test_of_models_that_share_a_name_the_references_decide() -> None:
    shared = load_catalog().named("runpod", "qwen-image-edit")
    chosen = [choose_by_references(shared, count).air for count in (0, 1, 2, 9)]
    assert chosen == ["runware:108@20", "runware:108@20", "runware:108@22", "runware:108@20"]
