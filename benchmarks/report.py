"""What every benchmark prints and writes: a table, its checks, and where it was measured."""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent.parent / "results"


@dataclass(frozen=True)
class Check:
    """One bar: `value` as measured, `bar` as it must be, and whether it holds."""

    name: str
    value: float | int | str
    bar: str
    holds: bool


@dataclass
class Report:
    """Rows of one table, and checks; `finish` prints, writes and gives the exit status."""

    name: str
    seed: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)

    def check(self, name: str, value: float | int | str, bar: str, holds: bool) -> None:
        """Add a bar; a missed one stays in the report."""
        self.checks.append(Check(name, value, bar, bool(holds)))

    def finish(self) -> int:
        """Print the tables, write results/NAME.json, and return 1 if a check failed, else 0."""
        document = {
            "benchmark": self.name,
            "commit": _commit(),
            "machine": _machine(),
            "seed": self.seed,
            "seconds": round(time.perf_counter() - self.start, 1),
            "rows": self.rows,
            "checks": [asdict(c) for c in self.checks],
        }
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        (RESULTS / f"{self.name}.json").write_text(text, encoding="utf-8")
        _print(self)
        return 0 if all(c.holds for c in self.checks) else 1


def _print(report: Report) -> None:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160)
    table = Table("network", "figure", "value", title=report.name)
    for row in report.rows:
        for key, value in row.items():
            if key != "network":
                table.add_row(str(row.get("network", "")), key, _short(value))
    console.print(table)
    checks = Table("check", "value", "bar", "holds", title="checks")
    for check in report.checks:
        checks.add_row(check.name, _short(check.value), check.bar, "yes" if check.holds else "NO")
    console.print(checks)


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _commit() -> str:
    """The commit that was measured, with `+` for uncommitted changes of the code."""
    folder = Path(__file__).parent
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False
    ).stdout.strip()
    code = ["grammars", "oracles", "synth", "examples", "benchmarks"]
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", *code],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return f"{head}+" if changed else head


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
    }
