from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog.catalog import (
    BUILT_IN,
    EMBEDDED_FOLDER,
    REFERENCES,
    Catalog,
    CatalogError,
    choose_by_references,
    load_catalog,
    reference_limits,
)
from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.own_lora import OwnLora
from pipelines.catalog.schedules import LoraSchedule
from pipelines.request import Sampler

ROW = """
[[models]]
air = "{air}"
slugs = ["{slug}"]
name = "Mine"
version = "1"
architecture = "qwen_image"
mode = "text_to_image"
weights = "{weights}"
steps = 4
true_cfg_scale = 1.0
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(text, encoding="utf-8")
    return path


def row(air: str = "mine:1@1", slug: str = "mine", weights: str = "owner/name") -> str:
    return ROW.format(air=air, slug=slug, weights=weights)


def lora(kind: str, weights: str = "owner/repository/fast.safetensors") -> str:
    return f"\n[[{kind}]]\nair = 'hub:1@1'\nname = 'Fast'\nweights = '{weights}'\n"


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


def test_a_folder_beside_the_file_is_resolved_and_a_hub_name_is_left(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    text = row(weights="weights") + row("mine:2@1", "Other", "owner/name") + row("mine:3@1", "third", "embedded")
    beside, hub, embedded = load_catalog(written(tmp_path, text)).entries
    assert beside.weights == str((tmp_path / "weights").resolve())
    assert hub.weights == "owner/name"
    assert hub.slugs == ("other",)
    assert embedded.embedded


def test_paths_of_components_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "q4.gguf").touch()
    keys = 'transformer = "q4.gguf"\ntext_encoder = "./nowhere"\nvae = "owner/name/vae.safetensors"\n'
    keys += 'text_encoder_mmproj = "./tower.gguf"\n'
    entry, plain = load_catalog(written(tmp_path, row() + keys + row("mine:2@1", "Other"))).entries
    folder = tmp_path.resolve()
    assert entry.files == ComponentFiles(
        "owner/name",
        str(folder / "q4.gguf"),
        str(folder / "nowhere"),
        "owner/name/vae.safetensors",
        str(folder / "tower.gguf"),
    )
    assert plain.files.replaced == ()
    assert Catalog((entry,)).with_embedded_weights().entries[0].files == ComponentFiles("embedded")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "models"),
        ("[[models]\n", "models.toml"),
        (row().replace("steps = 4", ""), "models.0.steps"),
        (row() + "sampler = 'euler'", "models.0.sampler"),
        (row().replace("text_to_image", "video"), "models.0.mode"),
        (row() + "schedule = { steps = 8 }", "models.0.schedule.steps"),
        (row() + "schedule = { shift = 0 }", "models.0.schedule.shift"),
        (row() + lora("loras") + "schedule = { shift = 3, terminal = 1 }", "loras.0.schedule.terminal"),
        (row() + lora("loras") + "schedule = { cfg = 1 }", "loras.0.schedule.cfg"),
        (row() + lora("controlnets") + "schedule = { steps = 8 }", "hub:1@1: a ControlNet has no schedule"),
        (row() + lora("controlnets") + "in_context = true", "hub:1@1: in_context is a key of LoRAs"),
        (row().replace("steps = 4", "steps = 'four'"), "models.0.steps"),
        (row() + "text_encoder_mmproj = 'a.gguf'", "mine:1@1: text_encoder_mmproj: name the GGUF as text_encoder too"),
        (row() + row(slug="other"), "named more than once: mine:1@1"),
        (row() + row("mine:2@1"), "named more than once: mine"),
        (row(air="Mine:1@1", slug="mine:1@1"), "named more than once: mine:1@1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(CatalogError, match=said) as caught:
        load_catalog(path)
    assert str(path) in str(caught.value)


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


def test_schedules(tmp_path: Path) -> None:
    lightning = "lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-8steps-V2.0.safetensors"
    model = row() + "schedule = { shift = 3, terminal = 0 }"
    known = load_catalog(written(tmp_path, model + lora("loras", lightning)))
    assert known.entries[0].sampler == Sampler(shift=3.0, terminal=0.0)
    assert known.loras[0].schedule == LoraSchedule(3.0, 0.0, 8, 1.0)
    assert known.with_embedded_weights().entries[0].sampler == Sampler()
    of_the_row = load_catalog(written(tmp_path, row() + lora("loras", lightning) + "schedule = { steps = 6 }"))
    assert of_the_row.loras[0].schedule == LoraSchedule(steps=6)
    none = load_catalog(written(tmp_path, row() + lora("loras", lightning) + "schedule = {}"))
    assert none.loras[0].schedule == LoraSchedule()
    assert load_catalog(written(tmp_path, row() + lora("loras"))).loras[0].schedule is None


FOUR_STEPS = "Qwen-Image-Lightning-4steps-V2.0.safetensors"
LIGHTNING = "lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-8steps-V2.0.safetensors"


def test_loras_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "ink.safetensors").touch()
    loras = f"loras = [{{ weights = '{LIGHTNING}', weight = 0.5 }}, {{ weights = 'ink.safetensors' }}]\n"
    catalog = load_catalog(written(tmp_path, row() + loras))
    (entry,) = catalog.entries
    ink = tmp_path.resolve() / "ink.safetensors"
    assert [(use.name, use.path, use.weight) for use in entry.own_loras] == [
        ("Qwen-Image-Lightning-8steps-V2.0", Path(LIGHTNING), 0.5),
        ("ink", ink, 1.0),
    ]
    assert entry.sampler == Sampler(shift=3.0, terminal=0.0)
    assert entry.made_for == LoraSchedule(3.0, 0.0, 8, 1.0)
    assert catalog.with_embedded_weights().entries[0].loras == ()
    own = load_catalog(written(tmp_path, row() + loras + "schedule = { shift = 2 }"))
    assert own.entries[0].sampler == Sampler(shift=2.0)


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            row() + f"loras = [{{ weights = '{LIGHTNING}' }}, {{ weights = 'a/b/{FOUR_STEPS}' }}]",
            "models: mine:1@1: loras: they were made for different schedules: steps is 8 and 4",
        ),
        (
            row() + "loras = [{ weights = 'a/b/c', wieght = 1 }]",
            "models.0.loras.0.wieght of mine:1@1 (line 2): there is no such key; the nearest is 'weight'",
        ),
        (row() + "loras = [{ weights = 'a/b/c', weight = 9 }]", "models.0.loras.0.weight of mine:1@1 (line 2): Input"),
        (row().replace("[[models]]", "[[model]]"), "model (line 2): there is no such table; the nearest is 'models'"),
        (row() + "\n[other]\n", "other (line 13): there is no such table; there are models, loras, controlnets"),
        (row().replace("[[models]]", "[models]"), "models (line 2): write [[models]], in double brackets"),
        (
            row() + row("mine:2@1", "two").replace("steps =", "stps ="),
            "models.1.stps of mine:2@1 (line 13): there is no such key; the nearest is 'steps'",
        ),
        (
            row().replace("steps = 4", "steps = 99"),
            "models.0.steps of mine:1@1 (line 2): Input should be less than or equal to 50",
        ),
        (
            row().replace("scale = 1.0", "scale = nan"),
            "models.0.true_cfg_scale of mine:1@1 (line 2): Input should be a",
        ),
        (row() + "native_area = 0", "models.0.native_area of mine:1@1 (line 2): Input should be greater than 0"),
        (
            row() + '[[loras]]\nair = "a:1@1"\nname = "a"\nweights = "a/b/c"\nweight = 40',
            "loras.0.weight of a:1@1 (line 12): Input should be less than or equal to 4",
        ),
        (
            row() + '[[loras]]\nair = "a:1@1"\nname = "a"\nweights = "a/b/c"\nschedule = { shft = 3 }',
            "loras.0.schedule.shft of a:1@1 (line 12): there is no such key; the nearest is 'shift'",
        ),
        (
            row().replace("text_to_image", "text2image"),
            "models.0.mode of mine:1@1 (line 2): 'text2image' is none of them; the nearest is 'text_to_image'",
        ),
        (
            row().replace("text_to_image", "zzz"),
            "'zzz' is none of them; there are text_to_image, edit, edit_plus",
        ),
        (
            row().replace('"qwen_image"', '"qwen-image"'),
            "models.0.architecture of mine:1@1 (line 2): 'qwen-image' is none of them; the nearest is 'qwen_image'",
        ),
        (
            row() + lora("loras") + 'architecture = "qwen_imge"',
            "hub:1@1: architecture: 'qwen_imge'; the nearest is 'qwen_image'",
        ),
        ("models = [3]", "models.0: Input should be a"),
    ],
)
def test_a_wrong_name_or_value_is_told_with_its_line_and_the_nearest_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load_catalog(written(tmp_path, text))
    assert said in str(caught.value)


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nowhere\.toml"):
        load_catalog(tmp_path / "nowhere.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b'name = "\xe9"')
    with pytest.raises(CatalogError, match=r"latin\.toml"):
        load_catalog(path)


def test_the_built_in_file_is_packaged() -> None:
    assert BUILT_IN.is_file()


def test_the_embedded_add_ons_come_with_the_embedded_weights_only() -> None:
    real = load_catalog()
    small = real.with_embedded_weights()
    assert (real.loras, real.controlnets) == ((), ())
    for name, row in (("ownware:1@1", small.find_lora("outlines")), ("ownware:2@1", small.find_controlnet("edges"))):
        assert row is not None
        assert row.air == name
        assert Path(row.weights).exists()
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


def test_the_folder_of_the_embedded_weights_is_them(tmp_path: Path) -> None:
    (entry,) = load_catalog(written(tmp_path, row(weights=str(EMBEDDED_FOLDER)))).entries
    assert entry.embedded
    assert entry.native_area is not None


def test_a_profile_of_ones_own_stays_with_the_embedded_weights(tmp_path: Path) -> None:
    (entry,) = load_catalog(written(tmp_path, row(weights="embedded") + 'profile = "mine"')).entries
    assert entry.profile == "mine"


def test_the_models_file_goes_before_embedded_add_ons(tmp_path: Path) -> None:
    lora = '\n[[loras]]\nair = "mine:2@1"\nslugs = ["Outlines"]\nname = "Mine"\nweights = "mine.safetensors"\n'
    small = load_catalog(written(tmp_path, row(slug="edges") + lora)).with_embedded_weights()
    assert [lora.air for lora in small.loras] == ["mine:2@1"]
    assert small.controlnets == ()


def test_of_models_that_share_a_name_the_references_decide() -> None:
    shared = load_catalog().named("runpod", "qwen-image-edit")
    chosen = [choose_by_references(shared, count).air for count in (0, 1, 2, 9)]
    assert chosen == ["runware:108@20", "runware:108@20", "runware:108@22", "runware:108@20"]
