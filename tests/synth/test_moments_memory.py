"""Moments of wide layers are made in place: the peak is a few Gram matrices, counted in `needs`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COLUMNS = 2500

SCRIPT = f"""
import json, re, sys
import numpy as np
import torch
from small import RELU, dense_layer
from synth.dead_zone import _factor
from synth.survey import Survey

torch.set_num_threads(1)
gram = 8 * ({COLUMNS} + 1) ** 2
layer = dense_layer([np.ones({COLUMNS})] * 4, [0.0] * 4, [RELU] * 4)
patches = torch.rand(500, {COLUMNS}, generator=torch.Generator().manual_seed(0))


def figure(name):
    return 1024 * int(re.search(name + r":\\s*(\\d+)", open("/proc/self/status").read())[1])


def measured(act):
    "What `act` gives, and how many Gram matrices were held at its peak beside what was before."
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    before = figure("VmRSS")
    result = act()
    return result, (figure("VmHWM") - before) / gram


survey = Survey(layer)
survey.add(patches[:2], layer.pre(patches[:2].double()))
_, added = measured(lambda: survey.add(patches[2:], layer.pre(patches[2:].double())))
moments, shrunk = measured(lambda: survey.moments)
_, factored = measured(lambda: _factor(moments.gram[0], np.zeros({COLUMNS} + 1)))
print(json.dumps([added, shrunk, factored]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are asked of Linux")
def test_few_gram_matrices_are_held():
    """A batch adds its product, shrinking one more matrix, and a factor what LAPACK copies."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    added, shrunk, factored = json.loads(done.stdout)
    assert added < 1.9 and shrunk < 1.4 and factored < 4.5
