import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from typer.testing import CliRunner

from ownware.cli import app
from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.models.planning.cards import GIB, make_card
from server.machine import capacity, devices
from tests.ownware.commands.models.test_list import ROWS
from tests.pipelines.models.formats.layouts import save_gguf


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "models.toml").write_text(ROWS)
    return str(tmp_path / "models.toml")


def check(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", "check", *arguments])
    return done.exit_code, done.output


def test_a_line_for_each_row(models: str) -> None:
    code, told = check("--models", models)
    first, second, *_ = told.splitlines()
    assert code == 0
    assert first.startswith("mine:1@1: transformer folder BF16 ")
    assert second.startswith("hub:1@1: not here: owner/style/ink.safetensors is not wholly here")


def test_a_named_row_that_is_not_here_is_a_negative_result(models: str) -> None:
    assert check("hub:1@1", "--models", models)[0] == 1
    assert check("mine", "--models", models)[0] == 0


def test_an_unknown_name(models: str) -> None:
    code, told = check("mime", "--models", models)
    assert (code, told.strip()) == (2, "ownware: 'mime' is not in the models file; the nearest is 'mine'")


@pytest.fixture
def own_weights(models: str, tmp_path: Path) -> str:
    """A models file whose row has weights of its own."""
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "mine", ignore=shutil.ignore_patterns("loras", "controlnets"))
    Path(models).write_text(ROWS.replace('"embedded"', '"./mine"'))
    return models


def a_lora(path: Path) -> None:
    adapter = {f"transformer_blocks.0.attn.to_q.lora_{part}.weight": torch.zeros(2, 2) for part in "AB"}
    save_file(adapter, path)


def a_t5(path: Path) -> None:
    save_file({"encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(2, 2)}, path)


def a_gguf_of_flux(path: Path) -> None:
    save_gguf({"double_blocks.0.img_attn.qkv.weight": torch.zeros(2, 32)}, path, "F32", "flux")


def a_huge_header(path: Path) -> None:
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")


def half_a_file(path: Path) -> None:
    whole = (EMBEDDED_FOLDER / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def nothing(path: Path) -> None:
    """The file is not there."""


@pytest.mark.parametrize(
    ("key", "name", "write", "sentence"),
    [
        ("weights", "nowhere", nothing, "there is no file or folder '{path}'"),
        ("weights", "lora.safetensors", a_lora, "'{path}' is a single file, and no whole model; name a folder or"),
        ("transformer", "lora.safetensors", a_lora, "it is a LoRA, not a transformer; name it under [[loras]]"),
        ("transformer", "gone.gguf", nothing, "there is no file or folder '{path}'"),
        ("transformer", "flux.gguf", a_gguf_of_flux, "'flux.gguf' is a GGUF of the architecture flux; name a GGUF of"),
        ("transformer", "huge.safetensors", a_huge_header, "'huge.safetensors' is no safetensors file, or a damaged "),
        ("transformer", "huge.gguf", a_huge_header, "'huge.gguf' is no GGUF file, or a damaged one; download it again"),
        ("text_encoder", "t5.safetensors", a_t5, "it is a T5 text encoder; Qwen-Image reads a Qwen2.5-VL-7B"),
        ("vae", "vae.safetensors", half_a_file, "'vae.safetensors' is truncated: it has "),
    ],
)
def test_bad_weights_are_told_in_one_sentence(
    models: str, tmp_path: Path, key: str, name: str, write: Callable[[Path], None], sentence: str
) -> None:
    write(tmp_path / name)
    row = ROWS.replace('"embedded"', f'"./{name}"') if key == "weights" else ROWS
    own = "" if key == "weights" else f'{key} = "./{name}"\n'
    Path(models).write_text(row.replace("[[loras]]", f"{own}\n[[loras]]"))
    code, told = check("mine", "--models", models)
    (line,) = told.splitlines()
    assert code == 1
    assert line.startswith("mine:1@1: wrong: " + sentence.format(path=tmp_path.resolve() / name))


def on_a_card(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    card = make_card("NVIDIA GeForce RTX 4090", int(gib * GIB), (8, 9))
    monkeypatch.setattr(devices, "find_devices", lambda wanted: ("cuda:0",))
    monkeypatch.setattr(capacity, "find_cards", lambda: (card,))
    monkeypatch.setattr(capacity, "free_host_memory", lambda: 64 * GIB)


def test_the_plan_for_this_machine_follows(own_weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_card(monkeypatch, 24)
    code, told = check("mine", "--models", own_weights)
    _, first, *plan = told.splitlines()
    assert code == 0
    assert first == (
        "  Mine (mine:1@1) on NVIDIA GeForce RTX 4090 (24.0 GiB) with 64.0 GiB of host memory, for 1328×1328:"
    )
    assert "    exact         yes: the values of the files are used as they are" in plan


def test_on_a_cpu_the_plan_is_that_of_the_cpu(own_weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNWARE_DEVICES", "cpu")
    assert "    - A CPU keeps everything in host memory." in check("mine", "--models", own_weights)[1].splitlines()


def test_a_card_that_is_too_small_is_told(own_weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_card(monkeypatch, 1)
    _, told = check("mine", "--models", own_weights)
    assert "1.0 GiB of GPU memory are too few for 1328×1328" in told.splitlines()[1]


def test_a_driver_that_is_too_old_is_told(own_weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(wanted: tuple[str, ...]) -> tuple[str, ...]:
        raise devices.DeviceError("the GPU driver is too old")

    monkeypatch.setattr(devices, "find_devices", refuse)
    code, told = check("mine", "--models", own_weights)
    assert (code, told.splitlines()[-1]) == (2, "ownware: --devices: the GPU driver is too old")
