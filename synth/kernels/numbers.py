"""Where the numbers of fits are: numpy's arrays, or tensors on a device, under one set of names.

Fits are written once, over a namespace `xp` that is numpy or a `Device`. What they decide (which
forms, which parameters may move, which chain is better) stays in numpy's arrays either way.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

OTHERWISE = {"rint": "round"}  # what torch calls them


class Device:
    """Those of numpy's functions that kernels and fits ask for, over tensors on a device of torch.

    Elementwise functions are torch's of the same name: numbers and arrays beside a tensor are moved
    to it, and of plain numbers they are numpy's. AttributeError for what torch has not. Tensors are
    float64 but where another type is asked for, and never on torch's default device.
    """

    def __init__(self, name: str) -> None:
        import torch

        self._torch, self._device = torch, torch.device(name)
        self.linalg = SimpleNamespace(
            # without checks that wait for the device: what is singular is worse than all else
            inv=lambda matrix: torch.linalg.inv_ex(matrix)[0],
            solve=lambda matrix, right: torch.linalg.solve_ex(matrix, right)[0],
            qr=torch.linalg.qr,
        )

    def asarray(self, values: Any, dtype: Any = None) -> Any:
        """Values as a tensor of the device, of their own type or of one of numpy's."""
        if not isinstance(values, self._torch.Tensor):
            values = self._torch.from_numpy(np.array(values))
        kind = values.dtype if dtype is None else getattr(self._torch, np.dtype(dtype).name)
        return values.to(self._device, kind)

    def zeros(self, shape: Sequence[int]) -> Any:
        return self._torch.zeros(tuple(shape), dtype=self._torch.float64, device=self._device)

    def broadcast_to(self, values: Any, shape: Sequence[int]) -> Any:
        return self.asarray(values).broadcast_to(tuple(shape))

    def amax(self, values: Any, axis: int) -> Any:
        return values.amax(axis)

    def __getattr__(self, name: str) -> Any:
        plain = getattr(np, name)
        if not callable(plain):
            return plain  # pi
        return self._function(plain, getattr(self._torch, OTHERWISE.get(name, name)))

    def _function(self, plain: Callable, ours: Callable) -> Callable:
        def function(*values: Any) -> Any:
            if not any(isinstance(v, self._torch.Tensor) for v in values):
                return plain(*values)
            return ours(*(self._moved(v) for v in values))

        return function

    def _moved(self, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):  # nothing to wait for
            return self._torch.full((), value, dtype=self._torch.float64, device=self._device)
        return self.asarray(value)


def host(values: Any) -> np.ndarray:
    """Numbers as an array of numpy, wherever they are."""
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def joined(parts: Sequence[Any], axis: int = 0) -> Any:
    """Arrays or tensors side by side."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, axis=axis)
    import torch

    return torch.cat([*parts], dim=axis)
