import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from safetensors.torch import load_file, save_file

from pipelines.catalog.hub.errors import HubError
from pipelines.controlnet import files
from pipelines.controlnet.blockwise import BlockwiseControlNet
from pipelines.controlnet.files import find_single_file, load_net
from pipelines.errors import LoadError
from pipelines.models.checkpoint import Checkpoint
from tests.adapters import named, random_adapter, write
from tests.control import blockwise_weights, save_blockwise, save_controlnet
from tests.pipelines.models.formats.layouts import comfy_quant, dequantized, plain_fp8, save, scaled_fp8


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class TestInstantX:
    @pytest.mark.parametrize("extra", [0, 4])
    def test_a_single_file_is_the_folder(self, checkpoint: Checkpoint, tmp_path: Path, extra: int) -> None:
        folder = save_controlnet(checkpoint, tmp_path / "net", 2, seed=1, extra_condition_channels=extra)
        alone = Path(folder, "diffusion_pytorch_model.safetensors").rename(tmp_path / "alone.safetensors")
        net = load_net(str(alone), checkpoint)
        assert isinstance(net, QwenImageControlNetModel)
        save_controlnet(checkpoint, tmp_path / "net", 2, seed=1, extra_condition_channels=extra)
        expected = load_net(folder, checkpoint)
        assert isinstance(expected, QwenImageControlNetModel)
        assert same(net, expected)
        ours, theirs = ({k: v for k, v in each.config.items() if not k.startswith("_")} for each in (net, expected))
        assert json.dumps(ours) == json.dumps(theirs)
        assert torch.equal(net.pos_embed.pos_freqs, expected.pos_embed.pos_freqs)
        assert not net.training


class TestBlockwise:
    @pytest.mark.parametrize("extra", [0, 4])
    def test_a_single_file(self, checkpoint: Checkpoint, tmp_path: Path, extra: int) -> None:
        path = tmp_path / "net.safetensors"
        net = load_net(save_blockwise(checkpoint, path, seed=1, extra=extra), checkpoint)
        assert isinstance(net, BlockwiseControlNet)
        assert (net.depth, net.width, net.channels) == (checkpoint.transformer.config["num_layers"], 32, 64 + extra)
        assert net.state_dict().keys() == load_file(path).keys()
        assert all(torch.equal(net.state_dict()[name], value) for name, value in load_file(path).items())
        assert not any(parameter.requires_grad for parameter in net.parameters())

    def test_it_takes_the_dtype_of_the_checkpoint(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        half = {name: value.bfloat16() for name, value in blockwise_weights(checkpoint, seed=1).items()}
        save_file(half, tmp_path / "net.safetensors")
        net = load_net(str(tmp_path / "net.safetensors"), checkpoint)
        assert {parameter.dtype for parameter in net.parameters()} == {checkpoint.dtype}

    def test_a_folder_of_diffsynth(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        save_blockwise(checkpoint, tmp_path / "model.safetensors", seed=1)
        assert isinstance(load_net(str(tmp_path), checkpoint), BlockwiseControlNet)

    def test_a_folder_is_used_whole(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        folder = Path(save_controlnet(checkpoint, tmp_path / "net", 1, seed=3))
        file = folder / "diffusion_pytorch_model.safetensors"
        save_file(load_file(file) | {"controlnet_blocks.0.more": torch.zeros(1)}, file)
        told = refusal(folder, checkpoint)
        assert told.endswith("has no place for 1 of the weights, such as controlnet_blocks.0.more")

    def test_a_folder_that_is_not_there(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match="there is no such folder"):
            load_net(str(tmp_path / "gone"), checkpoint)


class TestFp8:
    """A net in FP8 computes with the values that its file stands for."""

    LAYOUTS = (plain_fp8, scaled_fp8, comfy_quant)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_blockwise_net(
        self, checkpoint: Checkpoint, tmp_path: Path, layout: Callable[[dict[str, torch.Tensor]], dict[str, Any]]
    ) -> None:
        stored = layout(blockwise_weights(checkpoint, seed=1))
        net = load_net(str(save(stored, tmp_path / "net.safetensors")), checkpoint)
        expected = dequantized(stored)
        assert net.state_dict().keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("alone", [True, False])
    def test_a_net_of_instantx(
        self,
        checkpoint: Checkpoint,
        tmp_path: Path,
        layout: Callable[[dict[str, torch.Tensor]], dict[str, Any]],
        alone: bool,
    ) -> None:
        folder = Path(save_controlnet(checkpoint, tmp_path / "net", 2, seed=1))
        file = folder / "diffusion_pytorch_model.safetensors"
        stored = layout(load_file(file))
        save(stored, file)
        net = load_net(str(shutil.copy(file, tmp_path / "net.safetensors") if alone else folder), checkpoint)
        expected = dequantized(stored)
        assert net.state_dict().keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())


class TestHub:
    def test_a_file_that_it_has(self, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_blockwise(checkpoint, tmp_path / "a.safetensors", seed=1)
        monkeypatch.setattr(files, "fetch_file", lambda asked: tmp_path / asked.name)
        assert isinstance(load_net("owner/net/split/a.safetensors", checkpoint), BlockwiseControlNet)

    def test_a_repository_is_diffusers_own(self) -> None:
        assert find_single_file("owner/net") is None

    def test_a_file_that_it_lacks(self, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(asked: Path) -> Path:
            raise HubError(f"the repository has no file {asked.name}")

        monkeypatch.setattr(files, "fetch_file", missing)
        with pytest.raises(LoadError, match=r"'owner/net/a\.safetensors': the repository has no file a\.safetensors"):
            load_net("owner/net/a.safetensors", checkpoint)

    def test_a_path_that_is_none(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match="none"):
            load_net(str(tmp_path / "none.safetensors"), checkpoint)


def refusal(path: Path, checkpoint: Checkpoint) -> str:
    with pytest.raises(LoadError) as caught:
        load_net(str(path), checkpoint)
    start, _, reason = str(caught.value).partition(" cannot be loaded as a ControlNet: ")
    assert start == f"Weights '{path}'"
    assert "\n" not in reason
    return reason


class TestRefusal:
    def test_a_lora(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        path = write(tmp_path / "lora.safetensors", named(random_adapter(checkpoint.transformer, 1)))
        assert refusal(path, checkpoint) == "it is a LoRA, not a ControlNet; name it under [[loras]]"

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            ({"img_in.weight": None}, "its weight img_in.weight is missing"),
            (
                {"controlnet_blocks.0.x_rms.weight": None},
                "1 weights of BlockwiseControlNet are missing, such as controlnet_blocks.0.x_rms",
            ),
            ({"img_in.more": torch.zeros(1)}, "BlockwiseControlNet has no place for 1 of the weights, such as img_in."),
            ({"img_in.bias": torch.zeros(3)}, "img_in.bias has the shape [3], and BlockwiseControlNet needs [32]"),
            ({"img_in.absmax": torch.zeros(3)}, "it was saved quantized by bitsandbytes, as img_in.absmax shows"),
        ],
        ids=str,
    )
    def test_damaged_weights(self, checkpoint: Checkpoint, tmp_path: Path, damage: dict[str, Any], reason: str) -> None:
        weights: dict[str, Any] = blockwise_weights(checkpoint, seed=1) | damage
        save_file({name: value for name, value in weights.items() if value is not None}, tmp_path / "net.safetensors")
        assert refusal(tmp_path / "net.safetensors", checkpoint).startswith(reason)

    def test_a_truncated_file(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        path = tmp_path / "net.safetensors"
        save_blockwise(checkpoint, path, seed=1)
        path.write_bytes(path.read_bytes()[:2000])
        assert refusal(path, checkpoint)

    def test_a_file_of_another_kind(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        path = tmp_path / "net.gguf"
        path.touch()
        assert refusal(path, checkpoint) == "'net.gguf' is no safetensors file"
