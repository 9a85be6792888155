"""`synth.run` and `synth.open`."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Unpack

from synth.api.finished import Run
from synth.api.settings import Settings, overrides
from synth.folder import GIVEN, GIVEN_CONFIG, open_run

if TYPE_CHECKING:
    from torch import nn

    from synth.job import Job

Place = str | os.PathLike[str]


def run(
    net: "nn.Module | Place",
    probes: Any = None,
    *,
    test: Any = None,
    out: Place | None = None,
    **settings: Unpack[Settings],
) -> Run:
    """Decompile a network, as `synth run` does, and give the finished run.

    `net` is a module, which is neither changed nor kept (its copy is put into eval mode), or names
    a network: "model.pt2", "model.onnx", "net.py:network". `probes` are inputs (N, ...) as an array
    or a tensor; or a pair (inputs, labels), labels (N,) whole numbers from 0; or an iterable of
    such, as a DataLoader, which is read batch by batch. Inputs of a network that takes several are
    a tuple in the order of `forward`: ((left, right), labels). Labels may be left out: then the
    network's own answers stand for them. "data.npy" and "data.npz:x" are read where they are, all
    else is copied into the run folder. `test`, of the same forms, replaces the probes held out.

    `net` alone may also be a configuration, "net.toml". `out` is the run's folder, by default
    results/ and the name of the module's class, in small letters, or of the file. `settings` are
    keys of the configuration; `quiet=True` says nothing meanwhile.

    A run that was stopped goes on where it was when it is called again. Raises InputError, with
    every problem, before anything is searched; `Stopped`, which is one, on a full disk.
    """
    from synth import chain
    from synth.origin import record
    from synth.progress import progress

    given = overrides(settings)
    with progress(quiet=bool(settings.get("quiet"))) as tell:
        tell("reading the network", 0, 0)
        if (path := _configuration(net)) is not None:
            job = _configured(path, out, given)
        else:
            job = _placed(net, probes, test, Path(out or _default(net)).absolute(), given)
        chain.run(job, progress=tell)
    record(job.config, given)
    return Run(open_run(job.config.out), job)


def open(folder: Place) -> Run:
    """The finished run in a folder. Raises InputError: no run, not finished, or damaged.

    Neither the network nor the probes are needed before something of them is asked for.
    """
    return Run(open_run(Path(folder)))


def _configuration(net: object) -> Path | None:
    """The path of a configuration, if that is what is given."""
    path = Path(net) if isinstance(net, str | os.PathLike) else None
    return path if path is not None and path.suffix == ".toml" else None


def _default(net: object) -> Path:
    """results/<class or file>, as results/<configuration> is the command's."""
    if isinstance(net, str | os.PathLike):
        name = Path(os.fspath(net).partition(".py:")[0]).stem
    else:
        name = type(net).__name__.lower()
    return Path("results") / name


def _configured(path: Path, out: Place | None, given: dict[str, Any]) -> "Job":
    from synth.config import load_config
    from synth.job import load_job

    place = {} if out is None else {"run.out": os.fspath(out)}
    return load_job(load_config(path, given | place, said=""))


def _placed(net: object, probes: object, test: object, out: Path, given: dict[str, Any]) -> "Job":
    """The job of what is in memory, which is written into the run's folder once it is sound.

    It is written beside the folder first: what it is decides whether the folder is its own.
    """
    from synth.api.given import Given, write_given
    from synth.config import load_config
    from synth.job import load_job
    from synth.leftovers import working
    from synth.store import Store

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".given-", dir=out.parent) as beside:
        made = Path(beside) / GIVEN
        made.mkdir()
        what = Given(net, probes, test, given.get("network.output"))
        path = write_given(made, what)
        job = load_job(load_config(path, given | {"run.out": str(out)}, said=""))
        job = replace(job, config=replace(job.config, path=out / GIVEN / GIVEN_CONFIG))
        with working(out), Store(out) as store:
            store.claim_identity(job.digest, job.description)
            rmtree(out / GIVEN, ignore_errors=True)
            made.rename(out / GIVEN)
    return job
