"""Paths of parameters and modules that Python and torch can write."""

import keyword

from torch import nn


def safe_path(path: str) -> str:
    """A path of attributes with one more underscore behind each that Python or torch reserves."""
    return ".".join(f"{name}_" if _is_reserved(name) else name for name in path.split("."))


def original_path(path: str) -> str:
    """The path that `safe_path` made `path` of."""
    return ".".join(name[:-1] if _is_reserved(name) else name for name in path.split("."))


def _is_reserved(name: str) -> bool:
    """`class`, `type` and the like; and `class_`, or both would become one."""
    bare = name.rstrip("_")
    return keyword.iskeyword(bare) or hasattr(nn.Module, bare)
