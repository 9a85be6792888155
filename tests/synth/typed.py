"""Commands typed in a folder with a tiny network: what the tests of the command share."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from synth.command import main
from synth.folder import WRITTEN

NETWORK = """
import torch
from torch import nn


def network():
    module = nn.Sequential()
    module.add_module("fc1", nn.Linear(6, 5))
    module.add_module("relu", nn.ReLU())
    module.add_module("fc2", nn.Linear(5, 3))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
        module.fc1.weight[4] = -module.fc1.weight[1]
        module.fc1.bias[4] = -module.fc1.bias[1]
    return module


def probes():
    inputs = torch.rand(400, 6, generator=torch.Generator().manual_seed(5))
    return inputs, network()(inputs).argmax(1)


def raises():
    raise ValueError("no network today")


def not_finite():
    module = network()
    with torch.no_grad():
        module.fc2.weight[1, 2] = torch.nan
    return module


def with_nan():
    inputs, labels = probes()
    inputs[7, 3] = torch.nan
    return inputs, labels


def few():
    return probes()[0][:20]


def wide():
    return torch.rand(400, 7)


def words():
    return [["a", "b"]] * 400


def few_labels():
    inputs, labels = probes()
    return inputs, labels[:390]


def uneven_batches():
    yield torch.rand(200, 6), torch.zeros(200, dtype=torch.long)
    yield torch.rand(200, 7), torch.zeros(200, dtype=torch.long)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.scores = network()

    def forward(self, x):
        return {"scores": self.scores(x), "input": x}
"""

CONFIG = """
[network]
factory = "net.py:network"

[probes]
inputs = "net.py:probes"

[search]
budget = 250

[accept]
margin = 0.1
max_kl = 1e-6
"""

PRIMITIVE = '''
from grammars.primitive import Field, primitive, real


@primitive()
def soft_threshold(k, x: Field, *, width=real(0.0, 8.0, step=0.01, default=0.5)) -> Field:
    """sign(x) · max(|x| − width, 0), elementwise, the shape of x."""
    above = k.max(k.add(x, k.const(-width)), k.const(0.0))
    return k.add(above, k.min(k.add(x, k.const(width)), k.const(0.0)))
'''

BROKEN = '''
from grammars.primitive import Field, primitive


@primitive()
def hinge(k, x: Field) -> Field:
    """max(x, 0), elementwise, the shape of x."""
    return max(x, k.const(0.0))
'''

SEEING = """
import numpy as np
import torch
from torch import nn


def network():
    module = nn.Sequential()
    module.add_module("conv1", nn.Conv2d(1, 2, 3, padding=1))
    module.add_module("relu", nn.ReLU())
    module.add_module("pool", nn.AdaptiveAvgPool2d(1))
    module.add_module("flat", nn.Flatten())
    module.add_module("out", nn.Linear(2, 3))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return module


def probes():
    return np.random.default_rng(5).standard_normal((160, 1, 7, 7)).astype(np.float32)
"""

SEEING_CONFIG = """
[network]
factory = "net.py:network"
[probes]
inputs = "net.py:probes"
[search]
budget = 60
[accept]
margin = 0.2
[run]
controls = []
"""


@dataclass(frozen=True)
class Home:
    """A user's folder, in which commands are typed."""

    folder: Path

    def __call__(self, *words: object, columns: int = 160) -> Result:
        """What `synth …` does here; an exception other than an exit is a failure of the test."""
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            runner = CliRunner(catch_exceptions=False, env={"COLUMNS": str(columns)})
            return runner.invoke(main, [str(w) for w in words])
        finally:
            os.chdir(before)

    def bytes_of(self, out: str) -> dict[str, bytes]:
        return {name: (self.folder / out / name).read_bytes() for name in WRITTEN}


def project(folder: Path, config: str = CONFIG) -> Home:
    folder.mkdir(exist_ok=True)
    files = {"net.py": NETWORK, "net.toml": config, "mine.py": PRIMITIVE, "broken.py": BROKEN}
    for name, text in files.items():
        (folder / name).write_text(text)
    return Home(folder)


def seeing_project(folder: Path) -> Home:
    """A folder with a network that reads images."""
    (folder / "net.py").write_text(SEEING)
    (folder / "net.toml").write_text(SEEING_CONFIG)
    return Home(folder)


def changed(old: str, new: str) -> str:
    """The configuration with one part put in the place of another."""
    assert old in CONFIG
    return CONFIG.replace(old, new)


def python(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, *words],
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,  # type: ignore[call-overload]
    )
