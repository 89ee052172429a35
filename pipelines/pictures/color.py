"""Brings images into sRGB through the profile or the code points in their file, or the gamma that a PNG states.

The models see sRGB, and results are sRGB without a profile, as every viewer assumes. Knows colors; knows no files.
"""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from pipelines.pictures.color_codes import ColorCodes, codes_to_srgb, encode_srgb
from pipelines.pictures.image_files import COLOR_CODES, COLOR_PROBLEM

# Of mathematics, not of a display: what a PNG states whose numbers are sRGB.
_SRGB_GAMMA = 1 / 2.2
_SAME_GAMMA = 0.01
# A profile that moves no color by more than this, in levels of 255, is sRGB under another name.
_SAME_COLOR = 2
_PROFILE_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_srgb(image: Image.Image) -> Image.Image:
    """An image of 8 bits a channel as RGB, or as RGBA where it has an alpha channel, in sRGB.

    A profile that is damaged, or made for another kind of image, counts as none.
    """
    alpha = image.getchannel("A") if "A" in image.getbands() and image.mode != "LAB" else None
    plain = _without_alpha(image)
    transform = _transform_of(plain)
    if transform is not None:
        rgb = ImageCms.applyTransform(plain, transform)
        if rgb is None:  # only for a transform in place
            raise ValueError("the transform returned no image")
    elif plain.mode == "LAB":
        rgb = ImageCms.profileToProfile(plain, ImageCms.createProfile("LAB"), _SRGB, outputMode="RGB") or plain
    elif (codes := _codes(plain)) is not None:
        rgb = codes_to_srgb(plain.convert("RGB"), codes)
    else:
        rgb = _from_gamma(plain.convert("RGB"), plain.info)
    if alpha is not None:
        rgb.putalpha(alpha)
    rgb.info = {}
    return rgb


def color_problem(image: Image.Image) -> str | None:
    """Why an image's profile or code points cannot be used. None without any, and with good ones.

    A file that replaces a sender's one says it of that one.
    """
    if isinstance(known := image.info.get(COLOR_PROBLEM), str):
        return known
    profile = image.info.get("icc_profile")
    if not profile:
        codes = _codes(image)
        return None if codes is None else codes.problem
    kind, _ = _profile(profile)
    if kind is None:
        return "is damaged"
    mode = _mode_without_alpha(image)
    return None if kind == mode else f"is made for {kind} images, and this one is {mode}"


def _codes(image: Image.Image) -> ColorCodes | None:
    codes = image.info.get(COLOR_CODES)
    return ColorCodes(*codes) if isinstance(codes, tuple) else None


def _without_alpha(image: Image.Image) -> Image.Image:
    mode = _mode_without_alpha(image)
    if mode == image.mode:
        return image
    plain = image.convert(mode)
    plain.info = image.info
    return plain


def _mode_without_alpha(image: Image.Image) -> str:
    return image.mode.removesuffix("A") if image.mode in ("LA", "RGBA") else image.mode


def _transform_of(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """The transform of an image into sRGB. None if its numbers are sRGB already."""
    profile = image.info.get("icc_profile")
    if not profile or _profile(profile)[0] != image.mode:
        return None
    return _profile(profile)[1]


@lru_cache(maxsize=32)
def _profile(profile: bytes) -> tuple[str | None, ImageCms.ImageCmsTransform | None]:
    """The mode of image that a profile is for, None when it is damaged; and its transform, None when it is sRGB."""
    try:
        opened = ImageCms.core.profile_frombytes(profile)
        mode = _PROFILE_MODES.get(opened.xcolor_space)
        if mode is None:
            return None, None
        source = ImageCms.ImageCmsProfile(opened)
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB", _INTENT, _FLAGS)
        return mode, None if _is_identity(transform, mode) else transform
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None, None


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform leaves a sample of all colors as it is."""
    if mode not in ("RGB", "L"):
        return False
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    sample = Image.fromarray(colors if mode == "RGB" else levels[None, :])
    after = np.asarray(ImageCms.applyTransform(sample, transform), dtype=np.int16)
    return int(np.abs(after - np.asarray(sample.convert("RGB"), dtype=np.int16)).max()) <= _SAME_COLOR


def _from_gamma(image: Image.Image, info: dict[str | tuple[int, int], object]) -> Image.Image:
    """Apply the gamma that a PNG states without a profile, as browsers do."""
    gamma = info.get("gamma")
    if not isinstance(gamma, float) or gamma <= 0 or "srgb" in info or info.get("icc_profile"):
        return image
    if abs(gamma - _SRGB_GAMMA) < _SAME_GAMMA:
        return image
    light = np.linspace(0, 1, 256) ** (1 / gamma)
    return image.point((encode_srgb(light) * 255).round().astype(int).tolist() * 3)
