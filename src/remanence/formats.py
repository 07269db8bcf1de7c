"""What a file says of how it is written: a name and a version. What is older is read, what is newer is refused by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from remanence.errors import StateError


@dataclass(frozen=True)
class Format:
    """A kind of file, and the version in which it is written today.

    Parameters
    ----------
    name:
        What files of all versions say before the stroke.
    version:
        The version written today; every version from 1 on is read.

    Example
    -------
    >>> state = Format("remanence", 2)
    >>> str(state), state.version_in("remanence/1", "er.safetensors"), state.version_in("other/1", "er.safetensors")
    ('remanence/2', 1, None)
    >>> state.version_in("remanence/3", "er.safetensors")
    Traceback (most recent call last):
    remanence.errors.StateError: er.safetensors was written by a newer version of remanence (format remanence/3, this one reads up to remanence/2): upgrade remanence-memory
    """

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    def version_in(self, told: object, source: object) -> int | None:
        """The version that a file names, or None where it names no version of this format.

        Raises
        ------
        StateError
            If it names a newer one.
        """
        found = re.fullmatch(re.escape(self.name) + r"/([1-9]\d*)", str(told), re.ASCII)
        if found is None:
            return None
        if int(found[1]) > self.version:
            raise StateError(
                f"{source} was written by a newer version of remanence (format {told}, this one reads up to {self}): "
                "upgrade remanence-memory"
            )
        return int(found[1])
