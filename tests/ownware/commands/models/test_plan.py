"""`ownware models plan`, as a user runs it on a machine without a GPU."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ownware.cli import app
from pipelines.models.planning.cards import GIB, make_card
from server.machine import devices


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_cards", lambda whole=False: ())


def run(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", "plan", *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_a_plan_needs_neither_the_card_nor_the_weights() -> None:
    code, said = run("qwen-image", "--vram", "16", "--host-memory", "64", "--size", "1328x800")
    assert code == 0
    first, *lines = said.splitlines()
    assert first == ("Qwen-Image (runware:108@1) on RTX 4080 (16.0 GiB) with 64.0 GiB of host memory, for 1328×800:")
    assert "streamed a step" in lines[0]
    assert any(line.startswith("  - Exact bf16 is kept") for line in lines)


def test_json() -> None:
    code, said = run("runware:108@22", "--card", "RTX 3090", "--host-memory", "64", "--references", "2", "--json")
    told = json.loads(said)
    assert code == 0
    assert told["model"] == "runware:108@22"
    assert told["card"] == {"name": "RTX 3090", "generation": "ampere", "memoryBytes": 24 * GIB}
    assert told["workload"]["references"] == 2
    assert told["transformer"]["streamedBytes"] > 0


def test_the_options_of_the_server_count() -> None:
    options = ("runware:108@1", "--card", "RTX 4090", "--host-memory", "64", "--json")
    precisions = ("--precision", "nf4", "--encoder-precision", "fp8", "--vram", "12")
    told = json.loads(run(*options, *precisions)[1])
    assert told["transformer"]["precision"] == "nf4"
    assert told["textEncoder"]["precision"] == "fp8"
    assert told["card"]["memoryBytes"] == 12 * GIB


def test_the_card_of_this_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    here = make_card("NVIDIA L40S", 45 * GIB, (8, 9))
    monkeypatch.setattr(devices, "find_cards", lambda whole=False: (here,))
    assert " on NVIDIA L40S (45.0 GiB) " in run("qwen-image", "--host-memory", "64")[1]
    assert " on NVIDIA L40S (20.0 GiB) " in run("qwen-image", "--host-memory", "64", "--vram", "20")[1]


def test_the_cpu_keeps_everything_in_host_memory(tmp_path: Path) -> None:
    code, said = run("qwen-image", "--devices", "cpu", "--host-memory", "256")
    assert code == 0
    assert "on the CPU with 256.0 GiB of host memory" in said
    assert "A CPU keeps everything in host memory." in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nothing",), "'nothing' is not in the catalogue; there are runware:108@1, "),
        (("qwen-image",), "there is no GPU here: name one with --card 'RTX 4090', or its memory with --vram 24"),
        (("qwen-image", "--vram", "4"), "4.0 GiB of GPU memory are too few for 1328×1328: at least "),
        (("qwen-image", "--vram", "8", "--host-memory", "8"), "8.0 GiB of host memory are too few for 1328×1328 on "),
        (("qwen-image", "--vram", "0"), "OWNWARE_VRAM or --vram: Input should be greater than 0"),
        (("qwen-image", "--vram", "24", "--size", "1000"), "--size: 1000 is no multiple of 16"),
        (
            ("qwen-image", "--vram", "24", "--plan-size", "9"),
            "--plan-size: Value error, must be a size ",
        ),
        (("qwen-image", "--card", "Voodoo"), "--card: 'Voodoo' is no known card; there are B200, "),
        (("qwen-image", "--vram", "24", "--models", "nowhere.toml"), "No such file or directory"),
        (("qwen-image", "--vram", "24", "--precision", "int3"), "--precision: Input should be 'auto', "),
    ],
)
def test_what_cannot_be_planned_is_told(options: tuple[str, ...], message: str) -> None:
    code, said = run(*options)
    assert code == 2
    assert message in said
