"""Any sentence-transformers model as an encoder, by its name on the hub or its folder. This one loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from remanence.errors import MissingExtra, UsageError
from remanence.hyperparameters import validated
from remanence.minilm import check_texts
from remanence.store.encode.unit import unit_vectors


class SentenceTransformers:
    """A sentence-transformers model.

    Parameters
    ----------
    model:
        Its name on the hub or its folder.
    device:
        Where it runs, ``cpu``, ``cuda``, ``mps``; the library chooses where none is given.
    batch:
        Texts at once.

    Raises
    ------
    MissingExtra
        If sentence-transformers is not installed.
    UsageError
        If there is no such model.

    References
    ----------
    Reimers, Gurevych: Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks, 2019, arXiv 1908.10084.
    """

    @validated
    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        batch: Annotated[int, Field(ge=1, description="texts at once")] = 32,
    ) -> None:
        if not model:
            raise UsageError("name a model, sentence-transformers:NAME")
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise MissingExtra("sentence-transformers", "text", f"the encoder {model!r}") from None
        try:
            self._model: Any = SentenceTransformer(model, device=device)
        except (OSError, ValueError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UsageError(f"sentence-transformers cannot load the model {model!r}: {first}") from None
        self.batch = batch
        self.dimension = int(_dimension(self._model))
        self.name = f"sentence-transformers:{model}{_revision(self._model)}#{self.dimension}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (n, dimension) of length 1."""
        check_texts(texts)
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        given = [text.encode("utf-8", "replace").decode() for text in texts]
        vectors = self._model.encode(given, batch_size=self.batch, show_progress_bar=False, convert_to_numpy=True)
        return unit_vectors(vectors, self.dimension, self.name)


def _dimension(model: Any) -> Any:
    ask = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
    return ask()


def _revision(model: Any) -> str:
    """The commit that the hub gave, as a version; a folder has none."""
    try:
        commit = model[0].auto_model.config._commit_hash
    except (AttributeError, IndexError, KeyError, TypeError):
        commit = None
    return f"@{commit[:12]}" if commit else ""
