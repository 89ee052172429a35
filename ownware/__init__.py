"""Ownware: Qwen-Image and Qwen-Image-Edit on your own machine."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ownware")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"
