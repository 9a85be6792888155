"""Bad input: every problem is collected first and told once, before any work starts."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class InputError(Exception):
    """What the user gave cannot be used; `problems` says why, each with its next step."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)  # as args, so that the error survives a process boundary
        self.problems: tuple[str, ...] = problems

    def __str__(self) -> str:
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = ("  - " + problem.replace("\n", "\n    ") for problem in self.problems)
        return "\n".join((f"{count} with the input:", *lines))


class Problems:
    """A collector: `with Problems() as problems:` raises one InputError of all at its end."""

    def __init__(self) -> None:
        self._messages: dict[str, None] = {}  # ordered, and each problem is told once

    def __iter__(self) -> Iterator[str]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, *messages: str) -> None:
        self._messages.update(dict.fromkeys(messages))

    def attempt(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """`function(*args, **kwargs)`, or None with the problems of its InputError collected."""
        try:
            return function(*args, **kwargs)
        except InputError as error:
            self.add(*error.problems)
            return None

    def raise_if_any(self) -> None:
        """Raises InputError with all problems, if there are any."""
        if self._messages:
            raise InputError(*self._messages)

    def __enter__(self) -> "Problems":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, InputError):
            self.add(*error.problems)
            raise InputError(*self._messages) from error
        if kind is None:
            self.raise_if_any()


def listing(names: Iterable[str], *, limit: int = 20) -> str:
    """The names, comma-separated; beyond `limit` only their number is told."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint to append to an error: ` Did you mean 'x'? Known: x, y.`"""
    names = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    question = f" Did you mean '{folded[close[0]]}'?" if close else ""
    return f"{question} Known: {listing(names)}." if names else " None is known."
