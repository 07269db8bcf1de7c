"""The settings that every cache policy has where it is run as a learner."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from remanence.hyperparameters import hyperparameters, validated


class CacheSettings:
    """The settings that every cache policy has where it is run as a learner.

    Example
    -------
    >>> CacheSettings(tokens=64).tokens
    64
    """

    @validated
    def __init__(
        self,
        *,
        language_model: Annotated[str, Field(description="which language model reads, by name or folder")] = "tiny-lm",
        tokens: Annotated[
            int | None, Field(ge=2, description="the most entries of a layer, by default half of the model's positions")
        ] = None,
    ) -> None:
        self.language_model, self.tokens = language_model, tokens


def split_settings(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy's own settings, and those of `CacheSettings`."""
    common = {one.name for one in hyperparameters(CacheSettings)}
    return (
        {name: value for name, value in settings.items() if name not in common},
        {name: value for name, value in settings.items() if name in common},
    )
