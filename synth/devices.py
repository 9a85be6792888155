"""Where networks run while they are probed: the processor, or an accelerator that torch can use."""

import torch

from synth.errors import InputError


def check_device(name: str, *, place: str = "run.device =") -> None:
    """Raises InputError if torch cannot use the device "cpu", "cuda" or "cuda:1" of `place`."""
    if name == "cpu":
        return
    if not torch.cuda.is_available():
        raise InputError(
            f"{place} {name!r}: torch {torch.__version__} finds no such device; install a "
            "build of torch for it, or run with --device cpu."
        )
    count = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) >= count:
        known = ", ".join(f"cuda:{i}" for i in range(count))
        raise InputError(f"{place} {name!r}: there is no such device, but {known}.")
