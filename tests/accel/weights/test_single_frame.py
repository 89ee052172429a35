import copy

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage

from accel.weights.single_frame import SingleFrameVae


@pytest.fixture(scope="module")
def video_vae() -> AutoencoderKLQwenImage:
    """The real geometry: the class's defaults are Qwen-Image's VAE, but half as wide. Its weights are random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoencoderKLQwenImage(base_dim=48).requires_grad_(False)


@pytest.fixture(scope="module")
def image_vae(video_vae: AutoencoderKLQwenImage) -> SingleFrameVae:
    return SingleFrameVae(copy.deepcopy(video_vae))


def random_tensor(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 16)])
def test_encoding_equals_the_video_vae(
    video_vae: AutoencoderKLQwenImage, image_vae: SingleFrameVae, height: int, width: int
) -> None:
    pixels = random_tensor(1, 3, 1, height, width).clamp(-1, 1)
    expected = video_vae.encode(pixels, return_dict=False)[0].mode()
    assert expected.shape == (1, 16, 1, height // 8, width // 8)
    torch.testing.assert_close(image_vae.encode(pixels), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (6, 2)])
def test_decoding_equals_the_video_vae(
    video_vae: AutoencoderKLQwenImage, image_vae: SingleFrameVae, height: int, width: int
) -> None:
    latents = random_tensor(1, 16, 1, height, width)
    expected = video_vae.decode(latents, return_dict=False)[0]
    assert expected.shape == (1, 3, 1, 8 * height, 8 * width)
    torch.testing.assert_close(image_vae.decode(latents), expected, atol=1e-5, rtol=0)


def test_two_images_at_once_equal_one_and_one(image_vae: SingleFrameVae) -> None:
    latents = random_tensor(2, 16, 1, 4, 4)
    apart = torch.cat([image_vae.decode(latents[:1]), image_vae.decode(latents[1:])])
    torch.testing.assert_close(image_vae.decode(latents), apart, atol=1e-5, rtol=0)


def test_decoding_keeps_no_memory(image_vae: SingleFrameVae) -> None:
    latents = random_tensor(1, 16, 1, 4, 4)
    first = image_vae.decode(latents)
    image_vae.decode(random_tensor(1, 16, 1, 6, 6))
    assert torch.equal(image_vae.decode(latents), first)


def test_bfloat16_stays_bfloat16(image_vae: SingleFrameVae) -> None:
    half = copy.deepcopy(image_vae).to(torch.bfloat16)
    assert half.dtype == torch.bfloat16
    latents = random_tensor(1, 16, 1, 4, 4)
    decoded = half.decode(latents.to(torch.bfloat16))
    assert decoded.dtype == torch.bfloat16
    torch.testing.assert_close(decoded.float(), image_vae.decode(latents), atol=0.02, rtol=0)


def test_a_third_of_the_weights_is_left(video_vae: AutoencoderKLQwenImage, image_vae: SingleFrameVae) -> None:
    def count(module: torch.nn.Module) -> int:
        return sum(weight.numel() for weight in module.parameters())

    assert count(image_vae) < 0.36 * count(video_vae)


def test_nothing_three_dimensional_is_left(image_vae: SingleFrameVae) -> None:
    assert not [name for name, module in image_vae.named_modules() if isinstance(module, torch.nn.Conv3d)]
