"""Counts how often the host waits for the device because of a number.

Each wait stops the host from queueing work ahead. The counter watches the tensor methods that return Python values,
and the one that copies such a value to the device. It counts on every device: a CPU never waits, but the same code
waits on a GPU.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch

_SYNCING_METHODS = ("item", "tolist", "cpu", "__bool__", "__int__", "__float__", "__index__", "new_tensor")


class HostSyncCounter:
    """Counts host syncs within a `with` block, in `count`."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "HostSyncCounter":
        # torch.Tensor inherits these from a base in C: setting them hides the base's, deleting them shows it again.
        self._own = {name: vars(torch.Tensor)[name] for name in _SYNCING_METHODS if name in vars(torch.Tensor)}
        for name in _SYNCING_METHODS:
            setattr(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in _SYNCING_METHODS:
            if name in self._own:
                setattr(torch.Tensor, name, self._own[name])
            else:
                delattr(torch.Tensor, name)

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            return method(*arguments, **options)

        return counted
