"""The few exceptions a user meets: each says what was given, what was expected and what to do.

The command line turns every one of them into a single line on standard error and exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

DISTRIBUTION = "remanence-memory"
"""What to ask pip for; it is imported, and called, as ``remanence``."""


class RemanenceError(Exception):
    """Base of everything the library raises on purpose."""


class UsageError(RemanenceError, ValueError):
    """Something the caller gave cannot be used: an unknown name, a value out of range, bad data."""


class NeedsError(RemanenceError):
    """A learner needs something that the stream does not disclose."""


class BudgetError(RemanenceError):
    """A learner cannot fit the budget."""


class Unsupported(RemanenceError):
    """The learner cannot do what was asked (forget exactly, stack seeds, answer this task)."""


class StateError(RemanenceError):
    """A saved state is truncated, foreign, or of another shape than expected."""


class Conflict(RemanenceError):
    """A record was changed by somebody else in between."""


class Diverged(RemanenceError):
    """The loss of a learner became NaN or infinite."""


class EndpointError(RemanenceError):
    """A model behind an endpoint (a language model, an encoder) did not answer, or not usably."""


class MissingExtra(RemanenceError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: pip install '{DISTRIBUTION}[{extra}]'"
        )


def nearest(given: str, known: Iterable[str]) -> str:
    """A phrase naming what `given` may have meant, for the end of an error message.

    >>> nearest("ecw", ["ewc", "er"])
    "did you mean 'ewc'?"
    >>> nearest("a-mem", ["a-gem", "a-mem[rules]"])
    "did you mean 'a-mem[rules]'?"
    >>> nearest("zzz", ["ewc", "er"])
    'known: er, ewc'
    """
    names = sorted(known)
    close = [name for name in names if name.startswith(f"{given}[")] or difflib.get_close_matches(
        given, names, n=3, cutoff=0.5
    )
    if close:
        return "did you mean " + " or ".join(repr(name) for name in close) + "?"
    return "known: " + ", ".join(names)
