from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from PIL import Image

from pipelines.errors import ResultError
from pipelines.latents import decode_tokens, encode_pixels, grid, noise, pack, step_noise, unpack
from pipelines.models.checkpoint import Checkpoint


def test_a_token_is_sixteen_pixels(checkpoint: Checkpoint) -> None:
    assert grid(96, 64, checkpoint.vae) == (1, 4, 6)


def test_packing_equals_diffusers_and_unpacking_undoes_it() -> None:
    latents = torch.randn(2, 16, 1, 8, 12)
    tokens = pack(latents)
    assert torch.equal(tokens, QwenImagePipeline._pack_latents(latents, 2, 16, 8, 12))
    assert torch.equal(pack(latents.transpose(1, 2)), tokens)
    assert torch.equal(unpack(tokens, (1, 4, 6)), latents)
    assert torch.equal(unpack(tokens, (1, 4, 6)), QwenImagePipeline._unpack_latents(tokens, 64, 96, 8))


def test_noise_equals_diffusers_for_a_seed() -> None:
    latents = torch.randn((1, 1, 16, 8, 12), generator=torch.Generator("cpu").manual_seed(5))
    expected = QwenImagePipeline._pack_latents(latents, 1, 16, 8, 12)
    assert torch.equal(noise((1, 4, 6), 16, 5), expected)


def test_noise_belongs_to_its_seed_alone() -> None:
    first = noise((1, 4, 6), 16, 2**63 - 1)
    torch.randn(7)
    assert torch.equal(noise((1, 4, 6), 16, 2**63 - 1), first)
    assert not torch.equal(noise((1, 4, 6), 16, 0), first)
    assert first.dtype == torch.float32


def test_every_bit_of_a_seed_counts() -> None:
    drawn = [noise((1, 1, 1), 16, seed) for seed in (5, 5 + 2**32, 5 + 2**33, 5 + 2**62)]
    assert all(not torch.equal(a, b) for a, b in combinations(drawn, 2))


def test_the_noise_between_steps_is_a_stream_of_its_own() -> None:
    initial, like = noise((1, 4, 6), 16, 5), torch.zeros(1, 24, 64, dtype=torch.bfloat16)
    stream, same = step_noise(5), step_noise(5)
    first, second = stream(like), stream(like)
    torch.randn(7)
    assert torch.equal(torch.cat([first, second]), torch.cat([same(like), same(like)]))
    assert first.dtype == torch.float32
    values = [torch.sort(drawn.flatten()).values for drawn in (initial, first, second, step_noise(6)(like))]
    assert all(not torch.equal(a, b) for a, b in combinations(values, 2))
    assert torch.equal(noise((1, 4, 6), 16, 5), initial)


def test_the_noise_between_steps_reaches_a_gpu_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy from other memory waits for all steps before."""
    options: dict[str, Any] = {}
    drawn = SimpleNamespace(to=lambda device, **copied: options.update(copied, device=device))
    monkeypatch.setattr(torch, "randn", lambda shape, **made: options.update(made) or drawn)
    gpu: Any = SimpleNamespace(shape=(1, 24, 64), device=torch.device("cuda"))
    step_noise(5)(gpu)
    assert (options["pin_memory"], options["non_blocking"], options["device"]) == (True, True, gpu.device)


def test_encoded_pixels_are_normalised_tokens(checkpoint: Checkpoint) -> None:
    with torch.inference_mode():
        pixels = torch.rand(1, 3, 32, 48) * 2 - 1
        tokens = encode_pixels(checkpoint.vae, pixels)
        latents = unpack(tokens, (1, 2, 3))
        mean, std = (
            torch.tensor(checkpoint.vae.config[f"latents_{name}"]).view(1, -1, 1, 1, 1) for name in ("mean", "std")
        )
        torch.testing.assert_close(latents * std + mean, checkpoint.vae.encode(pixels.unsqueeze(2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_become_a_picture(checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    with torch.inference_mode():
        picture = decode_tokens(checkpoint.vae, noise((1, 4, 6), 16, 1).to(dtype), (1, 4, 6))
    assert isinstance(picture, Image.Image)
    assert (picture.mode, picture.size) == ("RGB", (96, 64))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_latents_that_are_not_finite_are_no_picture(checkpoint: Checkpoint, value: float) -> None:
    tokens = noise((1, 4, 6), 16, 1)
    tokens[0, 3, 5] = value
    with torch.inference_mode(), pytest.raises(ResultError, match="its latents are not finite"):
        decode_tokens(checkpoint.vae, tokens, (1, 4, 6))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_pixels_that_are_not_finite_are_no_picture(
    checkpoint: Checkpoint, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = torch.zeros(1, 3, 1, 64, 96)
    pixels[0, 1, 0, 5, 7] = value
    monkeypatch.setattr(checkpoint.vae, "decode", lambda latents: pixels)
    with torch.inference_mode(), pytest.raises(ResultError, match="its decoded pixels are not finite"):
        decode_tokens(checkpoint.vae, noise((1, 4, 6), 16, 1), (1, 4, 6))
