"""Where units are searched: processes or threads here, or the workers of a dask or ray cluster."""

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import resource_tracker
from typing import Any

from joblib import parallel_config

from synth.attempts import Limits
from synth.errors import InputError, Problems

CLUSTERS = {"dask": "distributed", "ray": "ray"}  # the package that each needs
OWN_CLUSTER = {
    "distributed.scheduler.allowed-failures": 10**9,  # of a task: we count those of each unit
    "distributed.comm.timeouts.connect": "5s",  # results of a worker that is dead are asked for
}
SECONDS = 20  # to wait for a scheduler

# What joblib says of workers that are stopped, or that grow: both are dealt with here.
_NOISE = (r"\d+ tasks", "A worker stopped while some jobs", "Failed to kill subprocesses")


@dataclass(frozen=True)
class Workers:
    """How many, where, and what one unit may cost; nothing of it changes what is found.

    `scheduler` is the address of a dask or ray cluster that is there already; `retries` is how
    often a unit is tried again whose worker died, hung or failed.
    """

    jobs: int = 1
    backend: str = "loky"
    scheduler: str = ""
    unit_seconds: float = 600.0
    unit_memory_mib: int = 0
    retries: int = 1

    @property
    def limits(self) -> Limits:
        return Limits(self.unit_seconds, self.unit_memory_mib)

    @property
    def here(self) -> bool:
        """Whether units may be searched in the process of the run."""
        alone = self.backend == "loky" and self.jobs == 1 and not self.unit_memory_mib
        return self.backend == "threading" or alone


def check_workers(workers: Workers) -> None:
    """Raises InputError if the backend is not installed, or cannot do what is asked."""
    backend, package = workers.backend, CLUSTERS.get(workers.backend)
    with Problems() as problems:
        if package and find_spec(package) is None:
            problems.add(
                f"run.backend = {backend!r} needs the package {package!r}, which is not installed: "
                f"pip install {package}"
            )
        if workers.scheduler and not package:
            problems.add(
                f"run.scheduler = {workers.scheduler!r} is for the backends dask and ray; "
                f"run.backend is {backend!r}."
            )
        if workers.unit_memory_mib and backend == "threading":
            problems.add(
                f"run.unit_memory_mib = {workers.unit_memory_mib} needs a process for each worker; "
                "run.backend is 'threading', whose workers share one: take 'loky'."
            )


@contextmanager
def connected(workers: Workers) -> Iterator[None]:
    """What joblib does inside is done by these workers; a cluster that is in use is used on.

    Raises InputError where a cluster cannot be reached, or cannot stop a unit that hangs.
    """
    with ExitStack() as stack, warnings.catch_warnings():
        for message in _NOISE:
            warnings.filterwarnings("ignore", message)
        stack.enter_context(_OPEN[workers.backend](workers))
        yield


@contextmanager
def starting() -> Iterator[None]:
    """Processes that are started inside leave Ctrl-C to us, and say nothing when we are killed."""
    said = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (said, "ignore:resource_tracker")))
    resource_tracker.ensure_running()  # its start would undo what comes next
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit it
    try:
        yield
    finally:
        if said is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = said
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _loky(workers: Workers) -> Iterator[None]:
    with parallel_config("loky", n_jobs=_several(workers), inner_max_num_threads=1):
        yield


def _several(workers: Workers) -> int:
    """joblib would search for one job in this process; how much is sent ahead keeps it to one."""
    return max(workers.jobs, 2)


@contextmanager
def _threading(workers: Workers) -> Iterator[None]:
    with parallel_config("threading", n_jobs=workers.jobs):
        yield


@contextmanager
def _dask(workers: Workers) -> Iterator[None]:
    from distributed import get_client

    client: Any
    with ExitStack() as stack:
        try:
            client = get_client()
        except ValueError:
            client = stack.enter_context(_dask_client(workers))
        threads: dict[str, int] = client.nthreads()
        crowded = sorted(worker for worker, count in threads.items() if count > 1)
        if crowded:
            raise InputError(
                f"the dask workers {', '.join(crowded)} have several threads, so a unit that hangs "
                "cannot be stopped alone: start them with --nthreads 1, and more of them."
            )
        with parallel_config(_dask_backend(client)):
            yield


def _dask_backend(client: Any) -> Any:
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        """joblib's own, but that it never searches in this process, and tells of lost tasks."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(super().effective_n_jobs(n_jobs), 2)  # one, and joblib would do it here

        def submit(self, func: Any, callback: Any = None) -> Any:
            def tell(done: Any) -> None:  # else joblib would wait for ever
                if error := done.exception():
                    callback(_Lost(error))

            future = super().submit(func, callback)
            future.add_done_callback(tell)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, _Lost):
                raise out.error
            return super().retrieve_result_callback(out)

    return Backend(client=client)


@dataclass(frozen=True)
class _Lost:
    """What dask says of a task that it gives up."""

    error: BaseException


@contextmanager
def _dask_client(workers: Workers) -> Iterator[Any]:
    from dask import config
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        place: Any = workers.scheduler
        if not place:
            stack.enter_context(config.set(OWN_CLUSTER))
            quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL, "memory_limit": 0}
            with starting():
                place = LocalCluster(workers.jobs, processes=True, threads_per_worker=1, **quiet)
            stack.enter_context(place)
        try:
            client = stack.enter_context(Client(place, timeout=SECONDS))
        except (OSError, ValueError) as error:
            raise InputError(f"run.scheduler = {place!r} cannot be reached: {error}") from error
        yield client


@contextmanager
def _ray(workers: Workers) -> Iterator[None]:
    import ray  # pyright: ignore[reportMissingImports]
    from ray.util.joblib import register_ray  # pyright: ignore[reportMissingImports]

    with ExitStack() as stack:
        if not ray.is_initialized():
            _start_ray(ray, workers)
            stack.callback(ray.shutdown)
        register_ray()
        with parallel_config("ray", n_jobs=_several(workers)):
            yield


def _start_ray(ray: Any, workers: Workers) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    own = {} if workers.scheduler else {"num_cpus": workers.jobs, "include_dashboard": False}
    try:
        with starting():
            ray.init(address=workers.scheduler or None, **own, **quiet)
    except (ConnectionError, OSError, ValueError) as error:
        place = f"run.scheduler = {workers.scheduler!r}"
        raise InputError(f"{place} cannot be reached: {error}") from error


_OPEN = {"loky": _loky, "threading": _threading, "dask": _dask, "ray": _ray}
