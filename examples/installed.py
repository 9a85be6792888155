"""Files of packages that the user has installed, found without importing the package."""

from importlib.util import find_spec
from pathlib import Path


def package_file(package: str, inside: str) -> Path:
    """The path of `inside` in an installed package.

    ModuleNotFoundError if the package is not installed, FileNotFoundError if it lacks the file.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"the package '{package}' is not installed here; install it: pip install {package}"
        )
    path = Path(spec.submodule_search_locations[0]) / inside
    if not path.is_file():
        raise FileNotFoundError(
            f"the package '{package}' has no file {inside}, looked for as {path}; "
            f"install the version that constraints.txt names"
        )
    return path
