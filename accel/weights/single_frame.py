"""The video VAE as the image VAE it is used as: exact, several times faster, a third of the weights.

`AutoencoderKLQwenImage` runs causal 3D convolutions that see two frames of zeros before a single image, so only the
last temporal slice of each kernel ever acts, and its frame cache only costs memory. Folding the kernels to 2D computes
the same sums. Channels lie innermost in memory, because each of the many norms reduces over them: on a CPU that alone
makes the small VAE three times faster. Knows the VAE's layers; knows no latent scaling and no images.
"""

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import (
    AutoencoderKLQwenImage,
    QwenImageCausalConv3d,
    QwenImageResample,
)
from torch import nn


class SingleFrameVae(nn.Module):
    """Encodes and decodes single images; takes the VAE it is made from over, which cannot be used afterwards."""

    def __init__(self, vae: AutoencoderKLQwenImage) -> None:
        super().__init__()
        self.config = vae.config
        self.spatial_compression_ratio = vae.spatial_compression_ratio
        self.encoder = _folded(vae.encoder)
        self.quant_conv = _FrameConv(vae.quant_conv)
        self.post_quant_conv = _FrameConv(vae.post_quant_conv)
        self.decoder = _folded(vae.decoder)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  torch's stub lacks it

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the weights."""
        return self.quant_conv.conv.weight.dtype

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels [B, 3, 1, H, W] in −1…1 to the posterior's mean [B, z, 1, H/8, W/8], as `vae.encode(…).mode()`."""
        frames = pixels.contiguous(memory_format=torch.channels_last_3d)
        return self.quant_conv(self.encoder(frames)).chunk(2, dim=1)[0]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, z, 1, h, w] to pixels [B, 3, 1, 8h, 8w] in −1…1, as `vae.decode(…).sample`."""
        frames = latents.contiguous(memory_format=torch.channels_last_3d)
        return self.decoder(self.post_quant_conv(frames)).clamp(-1.0, 1.0)


class _FrameConv(nn.Module):
    """A causal 3D convolution reduced to what it does to the first frame."""

    def __init__(self, conv: QwenImageCausalConv3d) -> None:
        super().__init__()
        left, _, top, *_ = (int(side) for side in conv._padding)  # twice the width, the height, the time
        kernel = (conv.kernel_size[1], conv.kernel_size[2])
        stride = (conv.stride[1], conv.stride[2])
        with torch.device("meta"):
            self.conv = nn.Conv2d(conv.in_channels, conv.out_channels, kernel, stride, (top, left))
        self.conv.weight = nn.Parameter(conv.weight[:, :, -1].detach().clone(), requires_grad=False)
        self.conv.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach(), requires_grad=False)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.conv(frames.squeeze(2)).unsqueeze(2)


def _folded(module: nn.Module) -> nn.Module:
    """Replace every causal convolution below a module; those along time never see a second frame and are dropped."""
    for name, child in module.named_children():
        if isinstance(child, QwenImageCausalConv3d):
            along_time = isinstance(module, QwenImageResample)
            setattr(module, name, nn.Identity() if along_time else _FrameConv(child))
        else:
            _folded(child)
    return module
