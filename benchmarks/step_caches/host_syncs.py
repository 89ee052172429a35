"""How often the host waits for a number from the device.

Each such wait stops it from queueing work ahead. Counted where tensors hand their values over, on any device: on a CPU
nobody waits, but the same code does on a GPU.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch

_READING = ("item", "tolist", "cpu", "__bool__", "__int__", "__float__", "__index__")


class HostReads:
    """Counts them within a `with` block. `count` goes up with each."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "HostReads":
        # torch.Tensor inherits these from a base in C: setting them hides the base's, deleting them shows it again.
        self._own = {name: vars(torch.Tensor)[name] for name in _READING if name in vars(torch.Tensor)}
        for name in _READING:
            setattr(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in _READING:
            if name in self._own:
                setattr(torch.Tensor, name, self._own[name])
            else:
                delattr(torch.Tensor, name)

    def _counted(self, reading: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            return reading(*arguments, **options)

        return counted
