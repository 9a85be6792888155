"""How long the stages of a run take, on this machine."""

import json
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TypeVar

T = TypeVar("T")


@dataclass
class Stopwatch:
    """Seconds by stage: kept apart from results, which do not depend on the machine."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The items, with the time that it takes to get them counted as a stage."""
        while True:
            with self.stage(name):
                item = next(items, None)
            if item is None:
                return
            yield item

    def record(self, jobs: int, engines: Mapping[str, float]) -> str:
        """`timing.json`: seconds of the stages, and of each engine in all processes together, peak
        memory of the largest process and versions."""
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        peak = max(resource.getrusage(w).ru_maxrss for w in whose) / 1024
        versions = {n: version(n) for n in ("neuron-synth", "torch", "numpy", "z3-solver")}
        stages, own = ({k: round(v, 3) for k, v in of.items()} for of in (self.seconds, engines))
        record = {"seconds": stages, "engine_seconds": own, "peak_mib": peak, "jobs": jobs}
        record["versions"] = versions
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"
