"""Encoders by name: the list of ways to make one."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any, cast

from remanence.errors import UsageError, nearest
from remanence.store.encode.cached import Cached
from remanence.store.encode.protocol import Encoder

Factory = Callable[..., Encoder]
"""Called with what stands behind the first colon of the name (maybe nothing) and with the settings."""

_FACTORIES: dict[str, Factory | str] = {
    "minilm": "remanence.store.encode.packaged:Packaged",
    "sentence-transformers": "remanence.store.encode.sentence_transformers:SentenceTransformers",
    "compatible": "remanence.store.encode.compatible.encoder:HeadEncoder",
    "openai": "remanence.store.encode.endpoint:Endpoint",
}
_STAMP = re.compile(r"(?:@(?P<version>[\w.]+))?#(?P<dimension>[1-9]\d*)$")


def register(kind: str, factory: Factory | str) -> None:
    """Add a kind of encoder: a factory, or where to find it, ``"package.module:name"``.

    ``encoder("kind:rest", **settings)`` then calls ``factory("rest", **settings)``.

    Raises
    ------
    UsageError
        If another factory has this kind already, or the kind has a colon.

    Example
    -------
    >>> import numpy as np
    >>> class Letters:
    ...     name, dimension = "letters#26", 26
    ...     def __init__(self, rest: str = "") -> None: ...
    ...     def encode(self, texts):
    ...         counts = np.array([[text.count(chr(97 + k)) for k in range(26)] for text in texts], np.float32)
    ...         return counts / np.linalg.norm(counts, axis=1, keepdims=True)
    >>> register("letters", Letters)
    >>> encoder("letters").encode(["abba"])[0, :2].round(2).tolist()
    [0.7099999785423279, 0.7099999785423279]
    """
    if not kind or ":" in kind or "#" in kind:
        raise UsageError(f"an encoder's kind is what stands before the colon of its name, got {kind!r}")
    if _FACTORIES.get(kind, factory) != factory:
        raise UsageError(f"there is an encoder {kind!r} already: choose another name")
    _FACTORIES[kind] = factory


def registered() -> list[str]:
    """The kinds of encoders there are."""
    return sorted(_FACTORIES)


def encoder(name: str = "minilm", *, cache: bool = True, **settings: Any) -> Encoder:
    """An encoder by its name.

    Parameters
    ----------
    name:
        ``minilm`` (all-MiniLM-L6-v2 in 8-bit arithmetic), ``minilm:fp32`` (the same in float32),
        ``sentence-transformers:NAME`` (a model's name or folder), ``openai:MODEL`` (any OpenAI-compatible
        endpoint), or an encoder's own ``name`` as it stands in a database.
    cache:
        Keep vectors in the user's cache folder, by a hash of the text, and look there first;
        `remanence.vector_cache.forget` removes them.
    settings:
        What that kind takes: ``threads``, ``base_url``, ….

    Raises
    ------
    UsageError
        If there is no such encoder, a setting is not one of its, or what is installed makes other vectors than
        the full name says.
    MissingExtra
        If a package that it needs is not installed.

    Example
    -------
    >>> cat, kitten, tax = encoder("minilm").encode(["a cat", "a kitten", "income tax"])
    >>> bool(cat @ kitten > cat @ tax)
    True
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"an encoder is given by its name, one of {', '.join(registered())}, got {name!r}")
    kind, _, rest = name.partition(":")
    stamp = _STAMP.search(name)
    if kind not in _FACTORIES and stamp:
        kind = _STAMP.sub("", kind)
    if kind not in _FACTORIES:
        raise UsageError(f"there is no encoder {name!r}: {nearest(kind, registered())}")
    made = _factory(kind)(rest if stamp is None else _STAMP.sub("", rest), **_with_dimension(kind, stamp, settings))
    if stamp is not None and made.name != name:
        raise UsageError(
            f"the encoder {name!r} is asked for and what is installed is {made.name!r}: "
            "encode the texts again, or install that version"
        )
    return Cached(made) if cache else made


def _with_dimension(kind: str, stamp: re.Match[str] | None, settings: dict[str, Any]) -> dict[str, Any]:
    """An endpoint whose dimension stands in its name need not be asked for it."""
    if kind == "openai" and stamp is not None:
        return {"dimension": int(stamp["dimension"]), **settings}
    return settings


def _factory(kind: str) -> Factory:
    factory = _FACTORIES[kind]
    if isinstance(factory, str):
        module, _, attribute = factory.partition(":")
        loaded: Factory = getattr(importlib.import_module(module), attribute)
        return loaded
    return factory


def encoder_of(given: Any) -> Encoder | None:
    """An encoder by name, or the object that was given."""
    if given is None:
        return None
    if isinstance(given, str):
        return encoder(given)
    if not all(hasattr(given, name) for name in ("name", "dimension", "encode")):
        raise UsageError(
            f"a {type(given).__name__} was given as the encoder, expected a name or an object with name, dimension and encode"
        )
    return cast(Encoder, given)
