from pathlib import Path

import pytest

from pipelines.catalog.catalog import (
    BUILT_IN,
    EMBEDDED_FOLDER,
    Catalog,
)
from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.models_file import CatalogError, load_catalog
from pipelines.catalog.schedules import LoraSchedule
from pipelines.request import Sampler
from tests.pipelines.catalog.models_files import lora, row, written


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


def test_the_folder_of_the_embedded_weights_is_them(tmp_path: Path) -> None:
    (entry,) = load_catalog(written(tmp_path, row(weights=str(EMBEDDED_FOLDER)))).entries
    assert entry.embedded
    assert entry.native_area is not None


def test_a_profile_of_ones_own_stays_with_the_embedded_weights(tmp_path: Path) -> None:
    (entry,) = load_catalog(written(tmp_path, row(weights="embedded") + 'profile = "mine"')).entries
    assert entry.profile == "mine"
