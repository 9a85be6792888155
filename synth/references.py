"""References such as `digits.py:probes` or `data.npz:x`, and the user's own Python behind them."""

import hashlib
import importlib.util
import random
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from synth.errors import InputError, nearest
from synth.files import missing_file

_SHAPE = re.compile(r"(?P<path>.+\.(?P<suffix>py|npz|npy))(:(?P<key>.+))?")


@dataclass(frozen=True)
class Reference:
    """A file and, where its kind needs one, the name inside: a function or an array."""

    path: Path
    key: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.key}" if self.key else str(self.path)


def parse_reference(text: str, folder: Path) -> Reference:
    """Reads `FILE.py:FUNCTION`, `FILE.npz:KEY` or `FILE.npy`; a relative file is in `folder`.

    Raises InputError for another form; whether the file exists is not asked here.
    """
    found = _SHAPE.fullmatch(text)
    if not found or (found["suffix"] == "npy") == bool(found["key"]):
        raise InputError(
            f"reference {text!r}: expected 'FILE.py:FUNCTION', 'FILE.npz:KEY' or 'FILE.npy'."
        )
    return Reference(folder / found["path"], found["key"] or "")


def load_object(reference: Reference) -> object:
    """The module-level object `key` of the Python file. Raises InputError."""
    module = import_file(reference.path)
    public = [name for name in vars(module) if not name.startswith("_")]
    if reference.key not in vars(module):
        hint = nearest(reference.key, public)
        raise InputError(f"{reference.path} has no '{reference.key}'.{hint}")
    return getattr(module, reference.key)


def call_object(reference: Reference, function: Callable[[], object]) -> object:
    """`function()` as reproducible user code; what it raises becomes an InputError."""
    with _telling(reference), _user_code(reference.path):
        return function()


def import_file(path: Path) -> ModuleType:
    """Runs a Python file as a module of its own, once for each content of the file.

    The module's name holds a digest of path and source, so two files of one name never meet, and
    its folder is importable only meanwhile. Raises InputError: no file, or it raises.
    """
    if problem := missing_file(path):
        raise InputError(problem)
    path = path.resolve()
    source = path.read_bytes()
    digest = hashlib.blake2b(str(path).encode() + b"\0" + source, digest_size=8).hexdigest()
    name = f"synth_user_{path.stem}_{digest}"
    return sys.modules.get(name) or _run_file(path, source, name)


def _run_file(path: Path, source: bytes, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the suffix .py has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look the module up by name
    try:
        with _telling(Reference(path)), _user_code(path):
            # Compiled here: the bytecode cache could be older than the source just read.
            exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _user_code(path: Path) -> Iterator[None]:
    """The file's folder is importable, and global random numbers start alike in every run."""
    import torch

    before, folder = (random.getstate(), np.random.get_state()), str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        if folder in sys.path:
            sys.path.remove(folder)


@contextmanager
def _telling(reference: Reference) -> Iterator[None]:
    """Turns an exception of the user's code into an InputError with type, message and line."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        where = _line(error, reference.path)
        raise InputError(f"{reference} raised {type(error).__name__}: {error}{where}") from error


def _line(error: BaseException, path: Path) -> str:
    """` (line 7: the code)`, the innermost place inside the user's own file."""
    if isinstance(error, SyntaxError):
        return ""  # its message already names file and line
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if Path(f.filename).resolve() == path.resolve()]
    return f" (line {inside[-1].lineno}: {inside[-1].line})" if inside else ""
