"""The text encoder of a card that has no room for it beside the transformer.

It is read at the first prompt that is not known, and waits in host memory from then on. While it encodes, two of its
layers are on the card. Knows the encoder's parts; knows no prompt and no file.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from accel.weights.copy_engine import CopyEngine, make_engine
from accel.weights.layerwise import LayerwiseNetwork

_LANGUAGE, _VISION = 0, 1


class WaitingEncoder:
    """An encoder without weights, and the function that reads them into host memory."""

    def __init__(
        self,
        encoder: Qwen2_5_VLForConditionalGeneration,
        read: Callable[[], object],
        device: torch.device,
        engine: CopyEngine | None = None,
    ) -> None:
        self._encoder, self._read = encoder, read
        self._engine = engine or make_engine(device)
        self._network: LayerwiseNetwork | None = None

    @property
    def host_bytes(self) -> int:
        """The bytes of host memory that it takes; 0 until the first prompt."""
        return 0 if self._network is None else self._network.host_bytes

    @contextmanager
    def running(self, *, pictures: bool) -> Iterator[None]:
        """Let the encoder run inside the `with`, with its vision tower for `pictures`. Raises what reading raises."""
        if self._network is None:
            self._network = self._load()
        with self._network.running([_LANGUAGE, _VISION] if pictures else [_LANGUAGE]):
            yield

    def _load(self) -> LayerwiseNetwork:
        with torch.inference_mode(False):  # the weights outlive the render that reads them
            self._read()
            language = self._encoder.model.language_model
            others = [part for name, part in language.named_children() if name != "layers"]
            return LayerwiseNetwork(list(language.layers), [others, [self._encoder.model.visual]], self._engine)


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """A text encoder on the device, or one that is `waiting` in host memory."""

    network: Qwen2_5_VLForConditionalGeneration
    waiting: WaitingEncoder | None = None
