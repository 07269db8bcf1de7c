"""What a language model cost: calls, tokens, money, seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Usage:
    """Counts since a client was made.

    Parameters
    ----------
    calls:
        Requests sent, repeated ones and repairs included.
    retries:
        Of these, requests repeated because the one before failed or timed out.
    repairs:
        Of these, requests that asked for a bad answer to be mended.
    unmeasured:
        Requests whose tokens the endpoint did not tell: the counts below are without them.
    prompt_tokens, completion_tokens:
        As the endpoint counted them.
    cost:
        In the currency of the prices given; 0 without prices.
    seconds:
        Spent waiting for answers.

    Example
    -------
    >>> Usage(calls=1, prompt_tokens=20).plus(calls=1, completion_tokens=3)
    Usage(calls=2, retries=0, repairs=0, unmeasured=0, prompt_tokens=20, completion_tokens=3, cost=0.0, seconds=0.0)
    """

    calls: int = 0
    retries: int = 0
    repairs: int = 0
    unmeasured: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def plus(self, **more: float) -> Usage:
        """These counts and some more."""
        held = asdict(self)
        return Usage(**{name: value + more.get(name, 0) for name, value in held.items()})
