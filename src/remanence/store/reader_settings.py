"""How a text memory answers with a text: some of its records are read by a language model, with the question."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from remanence.hyperparameters import hyperparameters, validated


class ReaderSettings:
    """The settings that every text memory has where answers are texts.

    Example
    -------
    >>> ReaderSettings(records=2).records
    2
    """

    @validated
    def __init__(
        self,
        *,
        language_model: Annotated[str, Field(description="which language model reads, by name or folder")] = "tiny-lm",
        records: Annotated[int, Field(ge=1, description="how many records it reads for a question")] = 4,
    ) -> None:
        self.language_model, self.records = language_model, records


def split_settings(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of a memory, and those of its reading.

    >>> split_settings({"records": 2, "link": False})
    ({'link': False}, {'records': 2})
    """
    own = {known.name for known in hyperparameters(ReaderSettings)}
    return (
        {name: value for name, value in settings.items() if name not in own},
        {name: value for name, value in settings.items() if name in own},
    )
