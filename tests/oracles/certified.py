"""Honest certificates of a small run, and its files, to be corrupted and checked again."""

import hashlib
import json
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from safetensors.numpy import save

from oracles.certificate import CertifiedLayer, CertifiedUnit
from oracles.claims import AffineBank, Box, Claim, Proved, head_form
from oracles.cover_checker import check_all
from oracles.prove import prove_layer

HEADS = (
    head_form("relu"),
    head_form("leaky_relu", {"slope": 0.01}),
    head_form("identity"),
    head_form("abs"),
    head_form("clip", {"low": 0.0, "high": 6.0}),
    head_form("sigmoid"),
    head_form("tanh"),
    head_form("prelu", {"slope": 1.5}),
)
ROWS, COLUMNS, CHANNELS = (-1, 0, 1), (0, 2), 4
LABELS = [*(f"conv1[{channel}]" for channel in range(len(HEADS))), "block.2[0]", "block.2[1]"]


def term(coefficient, tap, style):
    """One product in the four ways it may be written."""
    forms = (
        f"{coefficient!r}*{tap}",
        f"{tap}*{coefficient!r}",
        f"({coefficient!r})*({tap})",
        f"-({tap}*{-coefficient!r})",
    )
    return forms[style % 4]


def text_of(weights, bias, head, name="conv"):
    """A program's text: grouped sums of products, in a head."""
    taps = [
        f"{name}_{c}" if (dy, dx) == (0, 0) else f"shift({name}_{c}, dy={dy}, dx={dx})"
        for c in range(CHANNELS)
        for dy in ROWS
        for dx in COLUMNS
    ]
    taps = [tap.replace("dy=0, ", "").replace(", dx=0", "") for tap in taps]
    pairs = [(w, tap) for w, tap in zip(weights.tolist(), taps, strict=True) if w]
    terms = [term(w, tap, index) for index, (w, tap) in enumerate(pairs)]
    groups = [" + ".join(terms[k : k + 5]) for k in range(0, len(terms), 5)]
    affine = " + ".join([*(f"({group})" for group in groups), repr(bias)])
    params = "".join(f", {name}={value!r}" for name, value in head.params)
    return affine if head.op == "identity" else f"{head.op}({affine}{params})"


def honest_layer(name, seed, heads=HEADS):
    """A layer of one unit a head, its programs (weights on 2^-6), and what prove_layer says."""
    rng = np.random.default_rng(seed)
    units, inputs = len(heads), CHANNELS * len(ROWS) * len(COLUMNS)
    weight = rng.normal(size=(units, inputs)).astype(np.float32) / 4
    bias = rng.normal(size=units).astype(np.float32)
    lower = -rng.random(inputs)
    box = Box(lower, lower + 1.5)
    names = {f"conv_{channel}": channel for channel in range(CHANNELS)}
    layer = CertifiedLayer(name, weight, bias, box, names, CHANNELS, ROWS, COLUMNS, heads)
    rounded = AffineBank(np.round(weight * 64) / 64, np.round(bias * 64) / 64, heads)
    epsilons = [Fraction(1, 2)] * units
    verdicts = prove_layer(AffineBank(weight, bias, heads), rounded, box, epsilons)
    certified = []
    for channel, verdict in enumerate(verdicts):
        assert isinstance(verdict, Proved)
        program = rounded[channel]
        text = text_of(program.weights, program.bias, program.head)
        claim = Claim(epsilons[channel], "envelope")
        certified.append(CertifiedUnit(name, channel, text, claim, verdict))
    return layer, certified


@dataclass
class Run:
    """The files of a run, to be corrupted and checked again."""

    document: dict
    tensors: dict
    rehash: bool = True
    raw: dict = field(default_factory=dict)  # bytes that replace a file

    def unit(self, label):
        return next(c for c in self.document["certificates"] if c["unit"] == label)

    def check(self, folder):
        data = save(self.tensors)
        if self.rehash:
            digest = hashlib.sha256(self.raw.get("units.safetensors", data)).hexdigest()
            self.document["files"] = {"units.safetensors": digest}
        files = {
            "units.safetensors": data,
            "certificates.json": json.dumps(self.document).encode(),
            **self.raw,
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return check_all(folder)
