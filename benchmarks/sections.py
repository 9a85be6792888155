"""What a section of the benchmark of proofs is given, and what it gives back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Check

Measured = tuple[list[dict[str, Any]], list[Check]]
"""Rows of the table, each with its "network", and checks."""


@dataclass(frozen=True)
class Given:
    """A seed, processes, the folder that holds data/ and nets/, and the part of the cases to do."""

    seed: int = 0
    jobs: int = 2
    data: Path = Path("../shared")
    part: float = 1.0

    def cases(self, whole: int) -> int:
        """How many of so many cases are done; at least one."""
        return max(1, round(self.part * whole))


def check(name: str, value: float | int | str, bar: str, holds: bool) -> Check:
    """A bar as measured."""
    return Check(name, value, bar, bool(holds))
