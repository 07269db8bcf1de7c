"""An encoder that can also search the vectors of the one before it, so that a store need not encode anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from remanence.cache import sha256
from remanence.errors import StateError, UsageError
from remanence.state import read_state
from remanence.store.encode.compatible.bct import BCT
from remanence.store.encode.compatible.bt2 import BT2
from remanence.store.encode.compatible.head import EmbeddingHead
from remanence.store.encode.compatible.oca import OCA
from remanence.store.encode.compatible.xbt import XBT
from remanence.store.encode.encoder import encoder
from remanence.store.encode.protocol import Encoder

Array = NDArray[np.float32]
Head = EmbeddingHead | XBT
HEADS: dict[str, type[EmbeddingHead] | type[XBT]] = {
    kind.__name__: kind for kind in (EmbeddingHead, BCT, BT2, OCA, XBT)
}


def write(path: str | os.PathLike[str], head: Head, features: str, compatible_with: str) -> None:
    """Write a trained head with what it needs to be an encoder again; ``encoder("compatible:PATH")`` reads it.

    Parameters
    ----------
    path:
        Of one safetensors file, written whole or not at all.
    head:
        A trained head, or a projection.
    features:
        The name of the encoder whose vectors it was trained on.
    compatible_with:
        The name of the encoder of the old vectors.
    """
    head.save(path, features=features, compatible_with=compatible_with)


class HeadEncoder:
    """A trained head on the vectors of another encoder, as one encoder.

    Its name holds the file's place and digest, so that vectors of two trainings are never taken for one another's.

    Parameters
    ----------
    path:
        What `write` wrote.
    features:
        The encoder below the head; the one that the file names is made if it is left out.

    Raises
    ------
    StateError
        If the file is missing, torn, or holds no such encoder.
    UsageError
        If the encoder below is another than the file names, or gives vectors of another dimension.

    Example
    -------
    >>> import tempfile
    >>> class Letters:
    ...     name, dimension = "letters#2", 2
    ...     def encode(self, texts):
    ...         return np.array([[text.count("a"), text.count("b")] for text in texts], np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder) / "new", OCA(2, 3, dimension=4), "letters#2", "old#3")
    ...     found = HeadEncoder(Path(folder) / "new", features=Letters())
    >>> vectors = found.encode(["abba", "b"])
    >>> vectors.shape, found.to_old(vectors).shape, found.compatible_with
    ((2, 4), (2, 3), 'old#3')
    """

    def __init__(self, path: str | os.PathLike[str], *, features: Encoder | None = None) -> None:
        structure = read_state(path)[1]
        kind = HEADS.get(structure.get("head", ""))
        if kind is None or not {"features", "compatible_with"} <= structure.keys():
            raise StateError(
                f"{path} holds no encoder: give what remanence.store.encode.compatible.encoder.write wrote"
            )
        self.head: Head = kind.load(path)
        self.features = encoder(structure["features"]) if features is None else features
        self.compatible_with = str(structure["compatible_with"])
        if self.features.name != structure["features"] or self.features.dimension != self.head.inputs:
            raise UsageError(
                f"{path} was trained on vectors of {structure['features']} ({self.head.inputs} numbers), and "
                f"{self.features.name} ({self.features.dimension}) is below it: give the encoder that it was trained on"
            )
        self.dimension = self.head.dimension
        self.name = f"compatible:{os.fspath(path)}@{sha256(Path(path))[:12]}#{self.dimension}"

    def encode(self, texts: Sequence[str]) -> Array:
        """Unit vectors (n, dimension)."""
        return self.head.embed(self.features.encode(texts))

    @torch.inference_mode()
    def to_old(self, vectors: Array) -> Array:
        """Vectors of this encoder in the old space, unit rows (n, old dimension)."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise UsageError(f"vectors of shape {vectors.shape} were given, expected (any number, {self.dimension})")
        found: Array = self.head.to_old(torch.from_numpy(np.ascontiguousarray(vectors, np.float32))).numpy()
        return found
