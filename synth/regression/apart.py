"""A fit in a process of its own, which may die, hang or take too much: the run goes on without it.

Request and reply are files, for libraries write what they like to the standard output.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from synth.engine import EngineFailed
from synth.regression.child import ARRAYS, REPLY, REQUEST

SAID = "said.txt"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Apart:
    """A fit in `python -m module`, which may take so many seconds and so much memory (0: all)."""

    module: str
    seconds: float = 300.0
    memory_mib: int = 4096

    def fit(self, options: Mapping[str, Any], inputs: np.ndarray, target: np.ndarray) -> Any:
        """What the process replies for inputs (n, F) and a target (n,).

        Raises EngineFailed with what became of it: ended by a signal, hung, or failed with an error
        of its own. How long is too long differs from machine to machine, and then results do.
        """
        with TemporaryDirectory(prefix="fit-") as name:
            folder = Path(name)
            limits = {"seconds": self.seconds, "memory_mib": self.memory_mib}
            request = json.dumps({"options": dict(options)} | limits)
            (folder / REQUEST).write_text(request, encoding="utf-8")
            np.savez(folder / ARRAYS, inputs=inputs, target=target)
            code = self._run(folder)
            if code:
                raise EngineFailed(_words(code, (folder / SAID).read_text(errors="replace")))
            return json.loads((folder / REPLY).read_text(encoding="utf-8"))

    def _run(self, folder: Path) -> int:
        command = [sys.executable, "-m", self.module, str(folder)]
        paths = os.pathsep.join(path for path in sys.path if path)
        given = os.environ | ONE_THREAD | {"PYTHONPATH": paths}
        with open(folder / SAID, "wb") as said:
            process = subprocess.Popen(
                command, stdout=said, stderr=said, env=given, start_new_session=True
            )
            try:
                return process.wait(self.seconds)
            except subprocess.TimeoutExpired:
                raise EngineFailed(f"no answer within {self.seconds:g} s") from None
            finally:
                _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process, if it still runs, and all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _words(code: int, said: str) -> str:
    """An exit code in words, with the last line of what was said."""
    if code < 0:
        return f"its process ended by signal {signal.Signals(-code).name}"
    lines = said.strip().splitlines() or [f"its process ended itself with exit code {code}"]
    return lines[-1]
