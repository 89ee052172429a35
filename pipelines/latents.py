"""Latents: shapes, noise, packing, and conversion to and from pixels.

Knows the VAE's scaling and the transformer's packing of 2 × 2 latent pixels into one token; knows no prompt.
"""

from collections.abc import Callable

import torch
from PIL import Image

from accel.weights.single_frame import SingleFrameVae
from pipelines.errors import ResultError

# One token is a patch of 2 × 2 latent pixels, and a latent pixel 8 × 8 pixels of the image.
PATCH = 2
_ODD = 0x9E37_79B1  # 2^32 over the golden ratio, rounded to a prime (Knuth's multiplicative hash)
# Makes the noise between steps differ from the initial noise of the same seed: "STEP" in ASCII.
STEP_SEED = 0x53544550


def grid(width: int, height: int, vae: SingleFrameVae) -> tuple[int, int, int]:
    """The token grid of a size in pixels, as frames, rows and columns: one entry of the transformer's `img_shapes`."""
    side = vae.spatial_compression_ratio * PATCH
    return 1, height // side, width // side


def noise(shape: tuple[int, int, int], channels: int, seed: int) -> torch.Tensor:
    """Packed Gaussian noise [1, rows·columns, channels·4] for a token grid.

    Sampled on the CPU in float32, so that a seed gives the same image on every device and in every dtype.
    """
    _, rows, columns = shape
    generator = _generator(seed)
    values = torch.randn((1, 1, channels, rows * PATCH, columns * PATCH), generator=generator, dtype=torch.float32)
    return pack(values)


def step_noise(seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A source of Gaussian noise for stochastic solvers: float32, with a sample's shape and on its device.

    All calls sample from one CPU stream, which differs from the stream of `noise` for the same seed.
    """
    generator = _generator(seed ^ STEP_SEED)

    def draw(like: torch.Tensor) -> torch.Tensor:
        to_gpu = like.device.type == "cuda"  # from pinned memory, so that the host does not wait for the steps before
        drawn = torch.randn(like.shape, generator=generator, dtype=torch.float32, pin_memory=to_gpu)
        return drawn.to(like.device, non_blocking=to_gpu)

    return draw


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Pack latents [B, 1, C, 2r, 2c] or [B, C, 1, 2r, 2c] into tokens [B, r·c, 4C]."""
    batch, height, width = latents.shape[0], latents.shape[-2], latents.shape[-1]
    channels = latents.shape[1] * latents.shape[2]
    patches = latents.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * PATCH * PATCH)


def unpack(tokens: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """Unpack tokens [B, r·c, 4C] of a grid into latents [B, C, 1, 2r, 2c]."""
    batch, _, depth = tokens.shape
    _, rows, columns = shape
    channels = depth // (PATCH * PATCH)
    patches = tokens.reshape(batch, rows, columns, channels, PATCH, PATCH).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(batch, channels, 1, rows * PATCH, columns * PATCH)


def encode_pixels(vae: SingleFrameVae, pixels: torch.Tensor) -> torch.Tensor:
    """Encode pixels [B, 3, H, W] in −1…1 to packed, normalized latents: the posterior's mean, not a sample."""
    latents = vae.encode(pixels.unsqueeze(2))
    mean, std = _statistics(vae, latents)
    return pack((latents - mean) / std)


def decode_tokens(vae: SingleFrameVae, tokens: torch.Tensor, shape: tuple[int, int, int]) -> Image.Image:
    """Decode the packed latents of one image to an RGB picture.

    Raises `ResultError` when latents or pixels are not finite. The host waits once, for the pixels.
    """
    latents = unpack(tokens, shape).to(vae.dtype)
    mean, std = _statistics(vae, latents)
    pixels = vae.decode(latents / (1.0 / std) + mean)[0, :, 0]  # divided as diffusers does, for equal bits
    finite = torch.stack((tokens.isfinite().all(), pixels.isfinite().all()))  # before clamp, which hides infinity
    pixels = (pixels * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0).float()
    picture = copy_to_host((pixels * 255).round().byte())  # bytes on the device: a quarter of the copy
    for part, is_finite in zip(("latents", "decoded pixels"), finite.tolist(), strict=True):
        if not is_finite:
            raise ResultError(f"The result is no picture, because its {part} are not finite numbers.")
    return Image.fromarray(picture.numpy())


def copy_to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor in host memory. The host waits for the current stream alone: other streams of a GPU go on."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor.contiguous(), non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host


def _generator(seed: int) -> torch.Generator:
    """A generator seeded like torch's up to 32 bits. torch ignores the higher bits, so they are mixed in here."""
    low, high = seed & 0xFFFF_FFFF, seed >> 32
    return torch.Generator("cpu").manual_seed(low ^ (high * _ODD & 0xFFFF_FFFF))


def _statistics(vae: SingleFrameVae, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The latents' mean and standard deviation, [1, z, 1, 1, 1]."""
    shape = (1, -1, 1, 1, 1)
    mean, std = (torch.tensor(vae.config[name]).view(shape) for name in ("latents_mean", "latents_std"))
    return mean.to(like.device, like.dtype), std.to(like.device, like.dtype)
