"""Functions of a unit that go wrong as engines may, in modules that workers can import."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Faulty:
    """The square of a unit; those in `faults` do something first, each time or only the first.

    Every call leaves a file `<unit>.<number>` in `seen`, so that calls can be counted.
    """

    faults: Mapping[int, str]
    seen: str
    once: bool = False
    takes: float = 0.0

    def __call__(self, unit: int) -> int:
        calls = self.calls(unit)
        (Path(self.seen) / f"{unit}.{calls}").touch()
        if unit in self.faults and not (self.once and calls):
            FAULTS[self.faults[unit]]()
        time.sleep(self.takes)
        return unit * unit

    def calls(self, unit: int) -> int:
        return len(list(Path(self.seen).glob(f"{unit}.*")))


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> None:
    os._exit(3)


def hang() -> None:
    while True:
        time.sleep(0.1)


def swallow() -> None:
    np.ones(2**29)  # 4 GiB


def fail() -> None:
    raise ZeroDivisionError("a bug")


FAULTS = {f.__name__: f for f in (kill, crash, leave, hang, swallow, fail)}
