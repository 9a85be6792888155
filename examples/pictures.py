"""The user's own pictures, for networks that read photographs.

    export PICTURES=/path/to/folder

All .jpg, .jpeg and .png files of that folder and of those inside it are read, in order of their
paths. A network of 1000 classes wants some hundreds of them at least, of many kinds.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

VARIABLE = "PICTURES"
SUFFIXES = {".jpg", ".jpeg", ".png"}


def pictures(side: int, *, share: float = 1.0) -> Iterator[np.ndarray]:
    """Each picture as (side, side, 3) float32, RGB of 0..255.

    `share` is the side of the central square that is kept, of the picture's shorter side.
    FileNotFoundError where the folder is not named, not there, or holds no picture.
    """
    from PIL import Image

    for path in files():
        with Image.open(path) as opened:
            colours = opened.convert("RGB")
        kept = share * min(colours.size)
        left, top = ((length - kept) / 2 for length in colours.size)
        box = (left, top, left + kept, top + kept)
        small = colours.resize((side, side), Image.Resampling.BILINEAR, box=box)
        yield np.asarray(small, dtype=np.float32)


def files() -> list[Path]:
    """The paths of all pictures, sorted; FileNotFoundError as above."""
    named = os.environ.get(VARIABLE)
    advice = f"set {VARIABLE} to a folder that holds .jpg or .png files"
    if not named:
        raise FileNotFoundError(f"no pictures are named: {advice}")
    folder = Path(named)
    if not folder.is_dir():
        raise FileNotFoundError(f"{VARIABLE} = {named!r} is no folder: {advice}")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{VARIABLE} = {named!r} holds no picture: {advice}")
    return found
