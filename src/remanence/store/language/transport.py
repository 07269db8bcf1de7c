"""What talking to an endpoint needs besides the words: forms of answers, addresses, failures that pass."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

FORMATS = ("json_schema", "json_object", "text")
"""Ways to ask for an answer, the strictest first; endpoints know some of them."""


class TransientFailure(Exception):
    """A failure that may be over at the next try."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


def response_format(level: int, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """What asks for an answer of a schema, as strictly as an endpoint of this level knows; nothing at the last."""
    if FORMATS[level] == "json_schema":
        form = {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
        return {"response_format": form}
    return {"response_format": {"type": "json_object"}} if FORMATS[level] == "json_object" else {}


def is_address(url: str) -> bool:
    """Whether it can be an endpoint's: http or https, a host, a port that exists.

    >>> is_address("http://localhost:11434/v1"), is_address("localhost:11434")
    (True, False)
    """
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def transport_errors() -> tuple[type[Exception], ...]:
    """What reading a response raises: openai hands on the errors of its HTTP library, which has changed its name."""
    return tuple(sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules)


def retry_after(header: str | None) -> float:
    """Seconds that a server asks to wait; 0 where it says none, or a date.

    >>> retry_after("1.5"), retry_after("Fri, 31 Dec 2027 23:59:59 GMT"), retry_after(None)
    (1.5, 0.0, 0.0)
    """
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0


def innermost(error: BaseException) -> str:
    """The kind of the failure that an error was raised from first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__
