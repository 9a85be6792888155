"""Emission: `decompiled.py`, which people read and run without this package, and its weights."""

from synth.emission.stored import WEIGHTS_FILE, constants_beside, save_weights
from synth.emission.writer import emit

__all__ = ["WEIGHTS_FILE", "constants_beside", "emit", "save_weights"]
