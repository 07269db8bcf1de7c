"""A client for any OpenAI-compatible endpoint whose answers are typed, counted and never trusted."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from remanence.errors import EndpointError, MissingExtra, UsageError
from remanence.hyperparameters import validated
from remanence.store.language.answers import Typed, read
from remanence.store.language.transport import (
    FORMATS,
    TransientFailure,
    innermost,
    is_address,
    response_format,
    retry_after,
    transport_errors,
)
from remanence.store.language.usage import Usage

if TYPE_CHECKING:
    import openai

Messages = Sequence[Mapping[str, str]]

_LARGEST = 4_000_000
"""Bytes of a response: an endless one is cut."""


class LanguageModel:
    """A model behind an endpoint that speaks OpenAI's chat completions.

    An answer is data of the type asked for or an error, never text to act upon. What comes back is parsed
    strictly; one that cannot be is sent back once to be mended. The key stays inside the client: it is in
    no message, no representation, no file. Safe to use from several threads.

    Parameters
    ----------
    model:
        The model's name, as its endpoint knows it.
    base_url:
        Where it is, ``http://localhost:11434/v1``; None for OPENAI_BASE_URL, and OpenAI's own without one.
    api_key:
        None for OPENAI_API_KEY; an endpoint given by `base_url` may need none.
    timeout:
        Seconds for one request, however slowly its answer drips in.
    retries:
        Requests repeated after a time-out, a lost connection, a full or a failing server.
    backoff:
        Seconds before the first of them; doubled each time, at most 30. A server that names a time is obeyed.
    prompt_price, completion_price:
        Per million tokens, for `usage.cost`.
    longest:
        Characters of a prompt; a longer one is refused before anything is sent.

    Raises
    ------
    UsageError
        If a setting is out of range, or neither an endpoint nor a key is known.
    MissingExtra
        Without the package ``openai``, at the first question.

    Example
    -------
    >>> LanguageModel("llama3", base_url="http://localhost:11434/v1", api_key="secret")
    LanguageModel('llama3' at localhost:11434, 0 calls, 0 tokens)
    """

    @validated
    def __init__(
        self,
        model: Annotated[str, Field(min_length=1, description="name of the model")],
        base_url: Annotated[str | None, Field(description="where the endpoint is")] = None,
        api_key: Any = None,
        timeout: Annotated[float, Field(gt=0, le=3600, description="seconds for one request")] = 60.0,
        retries: Annotated[int, Field(ge=0, le=20, description="requests repeated after a failure")] = 3,
        backoff: Annotated[float, Field(ge=0, le=60, description="seconds before the first repeat")] = 0.5,
        prompt_price: Annotated[float, Field(ge=0, description="per million prompt tokens")] = 0.0,
        completion_price: Annotated[float, Field(ge=0, description="per million completion tokens")] = 0.0,
        longest: Annotated[int, Field(ge=100, description="characters of a prompt")] = 200_000,
    ) -> None:
        self.model = model
        self.timeout, self.retries, self.backoff, self.longest = timeout, retries, backoff, longest
        self._prices = (prompt_price, completion_price)
        self._url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        given = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        # Checked here and not by a type, since the message of a type's error shows what was given.
        if given is not None and not (isinstance(given, str) and given.isascii() and given.isprintable()):
            raise UsageError("api_key must be a string of printable ASCII characters")
        key = given or os.environ.get("OPENAI_API_KEY") or ""
        if self._url is not None and not is_address(self._url):
            raise UsageError("the endpoint's address must look like http://host:port/v1: give base_url in full")
        if not key and self._url is None:
            raise UsageError(
                "neither an endpoint nor a key is known: give base_url or api_key, "
                "or set OPENAI_BASE_URL or OPENAI_API_KEY"
            )
        self._key = SecretStr(key)
        self._usage = Usage()
        self._lock = threading.Lock()
        self._client: openai.OpenAI | None = None
        self._format = 0

    @property
    def usage(self) -> Usage:
        """Calls, tokens, cost and seconds so far."""
        return self._usage

    @property
    def host(self) -> str:
        """Where the endpoint is, without what an address may hide (a user, a password, a key)."""
        parts = urlsplit(self._url or "https://api.openai.com")
        return (parts.hostname or "") + (f":{parts.port}" if parts.port else "")

    def __repr__(self) -> str:
        return f"LanguageModel({self.model!r} at {self.host}, {self._usage.calls} calls, {self._usage.tokens} tokens)"

    def __getstate__(self) -> None:
        raise UsageError("a language model's client holds a key and cannot be copied: make one from its settings")

    def ask(self, prompt: str | Messages, answer: type[Typed]) -> Typed:
        """Ask, and get an instance of `answer`.

        Parameters
        ----------
        prompt:
            A question, or messages with ``role`` and ``content``.
        answer:
            The type that must come back; its JSON schema is sent along.

        Raises
        ------
        EndpointError
            If the endpoint cannot be reached, refuses, or answers nonsense twice.
        """
        said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(one) for one in prompt]
        size = sum(len(one["content"]) for one in said)
        if size > self.longest:
            raise EndpointError(
                f"the prompt has {size:,} characters and {self.model} is given at most {self.longest:,}: "
                "give it less at a time, or raise `longest`"
            )
        schema = answer.model_json_schema()
        order = "Answer with one JSON object only, nothing around it, by this schema:\n" + json.dumps(schema)
        said = [{"role": "system", "content": order}, *said]
        text = self._complete(said, answer.__name__, schema)
        try:
            return read(text, answer)
        except ValueError as error:
            problem = str(error)
        mend = f"This could not be used: {problem}. Give the same answer again as one JSON object by the schema."
        said += [{"role": "assistant", "content": text[:4000] or "(nothing)"}, {"role": "user", "content": mend}]
        text = self._complete(said, answer.__name__, schema, repairs=1)
        try:
            return read(text, answer)
        except ValueError as error:
            raise EndpointError(
                f"{self.model} at {self.host} was asked for a {answer.__name__} and twice gave something else "
                f"({self._clean(error)}): nothing was changed; try again or another model"
            ) from None

    def _complete(self, messages: list[dict[str, str]], name: str, schema: dict[str, Any], repairs: int = 0) -> str:
        """One answer's text; failures that may pass are tried again."""
        wait = self.backoff
        counted = {"repairs": repairs}
        for attempt in range(self.retries + 1):
            try:
                return self._request(messages, name, schema, counted)
            except TransientFailure as error:
                if attempt == self.retries:
                    tries = f"{attempt + 1} tries" if attempt else "one try"
                    raise EndpointError(
                        f"{self.model} at {self.host} gave no answer in {tries}: {self._clean(error)}; "
                        "nothing was changed; see whether it is up, or raise timeout or retries"
                    ) from None
                time.sleep(min(30.0, max(wait, error.wait)))
                wait *= 2
                counted = {"retries": 1}
        raise AssertionError  # the loop returns or raises

    def _request(
        self, messages: list[dict[str, str]], name: str, schema: dict[str, Any], counted: dict[str, int]
    ) -> str:
        client = self._connect()
        import openai

        last = len(FORMATS) - 1
        for level in range(self._format, last + 1):
            try:
                text = self._once(client, messages, response_format(level, name, schema), counted)
            except openai.APITimeoutError:
                raise TransientFailure(f"nothing within {self.timeout:g} s") from None
            except openai.APIConnectionError as error:
                raise TransientFailure(f"it cannot be reached ({innermost(error)})") from None
            except transport_errors() as error:
                what = "slow" if "Timeout" in type(error).__name__ else "broken"
                raise TransientFailure(f"its answer was {what} and never ended ({type(error).__name__})") from None
            except openai.APIStatusError as error:
                # Endpoints that know no schema, or no JSON mode, say so with 400 or 422.
                if error.status_code in {400, 422} and level < last:
                    continue
                self._refused(error)
            else:
                self._format = level
                return text
        raise AssertionError  # the last level returns or raises

    def _refused(self, error: openai.APIStatusError) -> NoReturn:
        said = self._clean(error)
        if error.status_code in {408, 409, 425, 429} or error.status_code >= 500:
            raise TransientFailure(
                f"status {error.status_code}, {said}", retry_after(error.response.headers.get("retry-after"))
            )
        raise EndpointError(
            f"{self.model} at {self.host} refused with status {error.status_code} ({said}): "
            "check the model's name, the address and the key"
        ) from None

    def _once(
        self, client: openai.OpenAI, messages: list[dict[str, str]], form: dict[str, Any], counted: dict[str, int]
    ) -> str:
        started = time.monotonic()
        tokens: dict[str, float] = {"unmeasured": 1}
        body = bytearray()
        try:
            request: Any = {"model": self.model, "messages": messages, "temperature": 0, **form}
            with client.chat.completions.with_streaming_response.create(**request) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    # A client's time-out is per read: without this, a drip would go on for ever.
                    if time.monotonic() - started > self.timeout:
                        raise TransientFailure(f"an unfinished answer after {self.timeout:g} s")
                    if len(body) > _LARGEST:
                        raise TransientFailure(f"more than {_LARGEST:,} bytes")
            text, tokens = self._content(bytes(body))
            return text
        finally:
            with self._lock:
                seconds = time.monotonic() - started
                self._usage = self._usage.plus(calls=1, seconds=seconds, **counted, **tokens)

    def _content(self, body: bytes) -> tuple[str, dict[str, float]]:
        """The message's text and the tokens counted; a body of another shape may be a gateway's, and may pass."""
        try:
            document = json.loads(body)
            message = document["choices"][0]["message"]
            text = message.get("content") or ""
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise TransientFailure("its answer has not the form of a chat completion") from None
        counts = document.get("usage")
        try:
            prompt, completion = int(counts["prompt_tokens"]), int(counts["completion_tokens"])
        except (ValueError, TypeError, LookupError, OverflowError):
            return text, {"unmeasured": 1}
        prompt, completion = max(0, prompt), max(0, completion)
        cost = (prompt * self._prices[0] + completion * self._prices[1]) / 1e6
        return text, {"prompt_tokens": prompt, "completion_tokens": completion, "cost": cost}

    def _connect(self) -> openai.OpenAI:
        with self._lock:
            if self._client is None:
                try:
                    import openai
                except ImportError:
                    raise MissingExtra("openai", "lm", "a language model behind an endpoint") from None
                # Repeating is done here, where it is counted.
                self._client = openai.OpenAI(
                    api_key=self._key.get_secret_value() or "none",
                    base_url=self._url,
                    timeout=self.timeout,
                    max_retries=0,
                )
            return self._client

    def _clean(self, error: Exception) -> str:
        """An error's words in one short line, without the key."""
        said = " ".join(str(error).split())
        key = self._key.get_secret_value()
        if key:
            said = said.replace(key, "…")
        said = re.sub(r"\bsk-[\w*.-]{4,}", "…", said)
        return said if len(said) <= 200 else said[:200] + "…"
