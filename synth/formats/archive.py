"""Zip archives looked at before anything in them is read, and pickles before they are loaded."""

import io
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synth.errors import InputError, Problems, listing

_ENCRYPTED = 0x1  # bit 0 of a member's flags


@dataclass(frozen=True)
class Archive:
    """The members of a zip archive by their names, without the folder that holds them all."""

    path: Path
    members: dict[str, bytes]

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def __getitem__(self, name: str) -> bytes:
        """The content of a member; InputError if there is none."""
        if name not in self.members:
            raise InputError(f"{self.path} lacks its part '{name}': it is not whole.")
        return self.members[name]

    def matching(self, pattern: str) -> dict[str, str]:
        """Members whose whole name matches, with the first group of each match."""
        found = {name: re.fullmatch(pattern, name) for name in self.members}
        return {name: match[1] for name, match in found.items() if match}


def read_archive(path: Path) -> Archive:
    """All members of the archive, once its table of contents is sane.

    Raises InputError: no zip, damaged, or a member that is encrypted, compressed (torch never
    compresses, and a few bytes can unfold to terabytes), there twice or outside the archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, str(path))
            names = [m.filename for m in archive.infolist() if not m.is_dir()]
            return Archive(path, {_inside(n, names): archive.read(n) for n in names})
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise InputError(f"{path} is no readable zip archive: {error}") from error


def check_members(archive: zipfile.ZipFile, place: str) -> None:
    """InputError with everything that is wrong with the table of contents of an archive."""
    with Problems() as problems:
        problems.add(*(f"{place}: {problem}: refused." for problem in _wrong(archive)))


def _wrong(archive: zipfile.ZipFile) -> Iterator[str]:
    members = archive.infolist()
    if min((m.header_offset for m in members), default=1):
        yield "it does not begin with its first part, so it is not whole"
    for name, count in Counter(m.orig_filename for m in members).items():
        if count > 1:
            yield f"it holds '{name}' {count} times"
        if name.startswith("/") or re.match(r"[A-Za-z]:|.*[\\\0]", name):
            yield f"'{name}' is an absolute path, or not written with '/'"
        if ".." in name.split("/"):
            yield f"'{name}' points out of the archive"
    for member in members:
        if member.flag_bits & _ENCRYPTED:
            yield f"'{member.filename}' is encrypted"
        if member.compress_type != zipfile.ZIP_STORED:
            yield f"'{member.filename}' is compressed, which torch never does"
    declared, size = sum(m.file_size for m in members), _size(archive)
    if declared > size:
        yield f"its parts claim {declared} bytes, but the file has {size}"


def _size(archive: zipfile.ZipFile) -> int:
    assert archive.fp is not None  # it is open
    return archive.fp.seek(0, io.SEEK_END)


def _inside(name: str, names: list[str]) -> str:
    """The name behind the one folder that torch puts everything in, if there is one."""
    folder = names[0].split("/")[0] + "/"
    return name.removeprefix(folder) if all(n.startswith(folder) for n in names) else name


def check_pickle(source: Path | bytes, place: str, kind: str = "file of tensors") -> None:
    """Look, without unpickling, at what a file of torch.save would load: only tensors may be in it.

    Raises InputError with the names of the functions and classes that it asks for.
    """
    with _told_plainly(place, kind):
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(_opened(source))
    if unsafe:
        asked = f"it asks for {listing(sorted(unsafe))}, and code from a file is never run"
        raise InputError(f"{place} is no plain {kind}: {asked}.")


def load_pickle(source: Path | bytes, place: str, kind: str = "file of tensors") -> Any:
    """Tensors in plain containers from a torch.save; nothing else is unpickled.

    Raises InputError, which calls the file `place` and says that it should be a `kind`.
    """
    if isinstance(source, bytes) or zipfile.is_zipfile(source):
        with _told_plainly(place, kind), zipfile.ZipFile(_opened(source)) as archive:
            check_members(archive, place)
        check_pickle(source, place, kind)
    with _told_plainly(place, kind):
        return torch.load(_opened(source), map_location="cpu", weights_only=True)


def _opened(source: Path | bytes) -> Any:
    return io.BytesIO(source) if isinstance(source, bytes) else source


@contextmanager
def _told_plainly(place: str, kind: str) -> Iterator[None]:
    """What a damaged file raises, in one line and without torch's advice to load it unsafely."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused just after
            yield
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        raise InputError(f"{place} is no plain {kind}: it holds other objects.") from error
    except Exception as error:  # each reader fails in its own ways
        reason = (str(error).splitlines() or [""])[0]
        text = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise InputError(f"{place} is no plain {kind} ({text}).") from error
