"""An embedding endpoint that speaks OpenAI's protocol, as an encoder."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, SecretStr, ValidationError

from remanence.errors import EndpointError, MissingExtra, UsageError
from remanence.hyperparameters import validated
from remanence.minilm import check_texts
from remanence.store.encode.unit import unit_vectors


class _Row(BaseModel):
    index: int
    embedding: list[float]


class _Counts(BaseModel):
    prompt_tokens: int = 0


class _Answer(BaseModel):
    """What is read of an answer; the rest is passed over."""

    data: list[_Row]
    usage: _Counts | None = None


@dataclass(frozen=True)
class TokenUsage:
    """Requests answered, texts encoded, and tokens that the endpoint counted."""

    calls: int = 0
    texts: int = 0
    tokens: int = 0


class Endpoint:
    """A model behind any OpenAI-compatible ``/embeddings``.

    Parameters
    ----------
    model:
        The model's name, as its endpoint knows it.
    base_url:
        Where it is, ``http://localhost:11434/v1``; None for OPENAI_BASE_URL, and OpenAI's own without one.
    api_key:
        None for OPENAI_API_KEY; an endpoint of one's own may need none.
    dimension:
        Numbers in a vector; asked of the endpoint with one request where it is not given.
    timeout:
        Seconds for one request.
    retries:
        Requests repeated after a time-out, a lost connection, a full or a failing server.
    batch:
        Texts in one request.
    longest:
        Characters sent of a text; what is beyond is not read. Models refuse texts longer than their context.

    Raises
    ------
    UsageError
        If a setting is out of range, or neither an endpoint nor a key is known.
    MissingExtra
        If the package ``openai`` is not installed.
    EndpointError
        If the endpoint cannot be reached, refuses, or answers with something else than the vectors asked for.

    Example
    -------
    >>> there = Endpoint("nomic-embed-text", base_url="http://localhost:11434/v1", dimension=768)
    >>> there.name
    'openai:nomic-embed-text#768'
    """

    @validated
    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: Any = None,
        dimension: Annotated[int, Field(ge=1, le=65536, description="numbers in a vector")] | None = None,
        timeout: Annotated[float, Field(gt=0, le=3600, description="seconds for one request")] = 30.0,
        retries: Annotated[int, Field(ge=0, le=20, description="requests repeated after a failure")] = 3,
        batch: Annotated[int, Field(ge=1, le=2048, description="texts in one request")] = 128,
        longest: Annotated[int, Field(ge=1, description="characters sent of a text")] = 8000,
    ) -> None:
        if not model:
            raise UsageError("name the endpoint's model, openai:MODEL")
        try:
            import openai
        except ImportError:
            raise MissingExtra("openai", "lm", f"the encoder {model!r} behind an endpoint") from None
        key = _key(api_key)
        url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        if not key and url is None:
            raise UsageError(
                "neither an endpoint nor a key is known: give base_url or api_key, "
                "or set OPENAI_BASE_URL or OPENAI_API_KEY"
            )
        if url is not None and not url.startswith(("http://", "https://")):
            raise UsageError("the endpoint's address must look like http://host:port/v1: give base_url in full")
        self.model, self.batch, self.longest = model, batch, longest
        self._hidden = SecretStr(key)
        self._client = openai.OpenAI(api_key=key or "none", base_url=url, timeout=timeout, max_retries=retries)
        self._usage, self._lock = TokenUsage(), threading.Lock()
        self.dimension = dimension or len(self._asked([" "])[0])
        if not self.dimension:
            raise EndpointError(f"{self._who()} gave a vector without numbers: is this a model for embeddings?")
        self.name = f"openai:{model}#{self.dimension}"

    @property
    def usage(self) -> TokenUsage:
        """Calls, texts and tokens so far."""
        return self._usage

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r} at {self._client.base_url.host}, {self._usage.tokens} tokens)"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (n, dimension) of length 1."""
        check_texts(texts)
        found = np.empty((len(texts), self.dimension), np.float32)
        # Endpoints refuse an empty text; a space says as much.
        given = [text[: self.longest].encode("utf-8", "replace").decode() or " " for text in texts]
        for begin in range(0, len(given), self.batch):
            part = given[begin : begin + self.batch]
            found[begin : begin + len(part)] = unit_vectors(self._asked(part), self.dimension, self._who())
        return found

    def _asked(self, texts: list[str]) -> list[list[float]]:
        """What the endpoint gives for the texts, in their order."""
        import openai

        try:
            request = self._client.embeddings.with_raw_response
            body = request.create(model=self.model, input=texts, encoding_format="float").content
        except openai.APITimeoutError:
            raise EndpointError(f"{self._who()} did not answer within {self._client.timeout:g} s: try again") from None
        except openai.APIConnectionError as error:
            raise EndpointError(f"{self._who()} cannot be reached ({_short(error)}): check its address") from None
        except openai.APIStatusError as error:
            said = _short(error).replace(self._hidden.get_secret_value() or "\n", "…")
            raise EndpointError(
                f"{self._who()} refused with status {error.status_code} ({said}): "
                "check the model's name, the address and the key"
            ) from None
        except openai.OpenAIError as error:
            raise EndpointError(f"{self._who()} failed ({_short(error)}): try again") from None
        try:
            answer = _Answer.model_validate_json(body)
        except ValidationError:
            raise EndpointError(
                f"{self._who()} gave something that has not the form of embeddings: is this the right address?"
            ) from None
        rows = sorted(answer.data, key=lambda row: row.index)
        if [row.index for row in rows] != list(range(len(texts))):
            raise EndpointError(
                f"{self._who()} gave {len(rows)} vectors for {len(texts)} texts, expected one for each: try again"
            )
        tokens = max(0, answer.usage.prompt_tokens) if answer.usage else 0
        with self._lock:
            was = self._usage
            self._usage = TokenUsage(was.calls + 1, was.texts + len(texts), was.tokens + tokens)
        return [row.embedding for row in rows]

    def _who(self) -> str:
        return f"{self.model} at {self._client.base_url.host}"


def _key(given: Any) -> str:
    """The key; checked here and not by a type, since the message of a type's error shows what was given."""
    if isinstance(given, SecretStr):
        given = given.get_secret_value()
    if given is not None and not (isinstance(given, str) and given.isascii() and given.isprintable()):
        raise UsageError("api_key must be a string of printable ASCII characters")
    return given or os.environ.get("OPENAI_API_KEY") or ""


def _short(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if len(said) <= 200 else said[:200] + "…"
