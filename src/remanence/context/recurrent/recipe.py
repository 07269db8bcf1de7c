"""Which language models around a memory layer there are, how each is trained, and where it lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from remanence import registry
from remanence.context.recurrent.mimetic import begin
from remanence.context.recurrent.model import RecurrentLM
from remanence.errors import UsageError, nearest
from remanence.models.recipe import CONFIGURATION, Recipe
from remanence.models.tiny_lm import RECIPES
from remanence.randomness import derive, global_generator

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "letters": 32,
        "codes": 48,
        "stages": ((128, 150), (256, 150), (512, 250), (1024, 150), (2048, 100)),
        "tokens": 2048,
        "mix": {"notes": 0.4, "planted": 0.6},
        "rate": 5e-3,
    },
    "micro": {"letters": 8, "codes": 8, "stages": ((32, 10),), "tokens": 128, "mix": {"notes": 1.0}, "warm_up": 2},
}
"""How large a model is and how it is trained, for each layer alike."""

SETTINGS: dict[str, dict[str, Any]] = {
    "based": {"window": 16},
    "hippo": {"memories": 8},
    "mixture-of-memories": {"key_dim": 96, "value_dim": 32, "convolution": 0},
    "relational-memory-core": {"slots": 8},
    "stanhop": {"slots": 256},
    # The memory alone: with attention behind it (MAC) 800 updates taught it no recall; and a memory of two layers that
    # decays slowly overshoots, and ends in NaN
    "titans": {"variant": "LMM", "memory_width": 96, "memory_layers": 1, "convolution": 0},
}
"""Hyperparameters of layers, where the tiny model has others than the defaults."""

_STEPWISE = {"stages": ((64, 400), (128, 300), (256, 100)), "rate": 3e-3}
TRAINING: dict[str, dict[str, Any]] = {
    "ntm": _STEPWISE,
    "relational-memory-core": _STEPWISE,
    "titans": {"rate": 3e-3},
}
"""What the training of the tiny model has otherwise: shorter texts where a layer takes position after position."""


@dataclass(frozen=True, kw_only=True)
class RecurrentRecipe(Recipe):
    """All that a language model around a memory layer follows from.

    Parameters
    ----------
    layer:
        Which memory layer, by the name of its system.
    settings:
        Its hyperparameters, without the width.
    letters, codes:
        Features of a byte, and numbers of the code of three bytes.

    The others are those of `remanence.models.recipe.Recipe`.
    """

    kind = "remanence recurrent"

    layer: str
    letters: int
    codes: int
    settings: dict[str, Any] = field(default_factory=dict)

    def build(self) -> RecurrentLM:
        card = layers()[self.layer]
        with global_generator(derive(self.seed, "weights")):
            layer = card.factory(self.letters + 2 * self.codes, **self.settings)
            model = RecurrentLM(layer, letters=self.letters, codes=self.codes)
        begin(layer, self.letters, self.codes, self.seed)
        return model

    def scores(self, model: nn.Module, tokens: Tensor) -> Tensor:
        found: Tensor = model(tokens)[0]
        return found

    def kept(self, model: nn.Module) -> tuple[dict[str, Tensor], str]:
        told = {"kind": self.kind, "layer": self.layer, "settings": self.settings}
        shape = {"letters": self.letters, "codes": self.codes}
        return dict(model.state_dict()), json.dumps({**told, **shape}, indent=1) + "\n"

    def load(self) -> RecurrentLM:
        self.check_ready()
        return _read(self.folder)[1]

    @property
    def longest(self) -> int:
        return max(length for length, _ in self.stages)


def layers() -> dict[str, registry.System]:
    """The memory layers by name."""
    return registry.in_room("remanence.context.layers")


def recipe(name: str, **settings: Any) -> RecurrentRecipe:
    """The recipe of a model around a layer.

    Parameters
    ----------
    name:
        ``tiny-`` and a layer, such as ``tiny-based``, or ``micro-`` and a layer, which is trained in a second and
        knows nothing.
    **settings:
        Hyperparameters of the layer.

    Raises
    ------
    UsageError
        If there is no such size or layer, or it has no such hyperparameter.

    Example
    -------
    >>> made = recipe("micro-based", window=4)
    >>> made.layer, made.settings
    ('based', {'window': 4})
    """
    size, _, layer = name.partition("-")
    if size not in SIZES or layer not in layers():
        raise UsageError(f"there is no model {name!r} to prepare: {nearest(name, names())}")
    own, training = (SETTINGS.get(layer, {}), TRAINING.get(layer, {})) if size == "tiny" else ({}, {})
    made = RecurrentRecipe(name=name, layer=layer, settings={**own, **settings}, **{**SIZES[size], **training})
    if settings:
        made.build()  # says at once which of them it cannot have
    return made


def names() -> list[str]:
    """The models that can be prepared."""
    return [f"{size}-{layer}" for layer in layers() for size in SIZES]


def any_recipe(name: str) -> Recipe:
    """The recipe of any of the library's own language models, around a memory layer or not.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name in RECIPES:
        return RECIPES[name]
    if name not in names():
        raise UsageError(f"there is no model {name!r} to prepare: {nearest(name, [*RECIPES, *names()])}")
    return recipe(name)


def recurrent_lm(name: str, layer: str) -> RecurrentLM:
    """A trained language model around a layer, by name or folder.

    Parameters
    ----------
    name:
        ``tiny-based`` and its like, or the folder of a recipe that was prepared.
    layer:
        Around which it has to be.

    Raises
    ------
    UsageError
        If the folder holds no such model, or one around another layer.
    StateError
        If it has not been prepared.
    """
    folder = Path(name)
    if name in names():
        wanted = recipe(name)
        wanted.check_ready()
        folder = wanted.folder
    found, model = _read(folder)
    if found != layer:
        raise UsageError(f"{name} is a language model around {found}, and {layer} was asked for: give one of its own")
    return model


def _read(folder: Path) -> tuple[str, RecurrentLM]:
    """The layer and the model in a folder."""
    try:
        told: Mapping[str, Any] = json.loads((folder / CONFIGURATION).read_text())
        if told.get("kind") != RecurrentRecipe.kind:
            raise ValueError(f"its {CONFIGURATION} is of another kind")
        layer = layers()[told["layer"]].factory(told["letters"] + 2 * told["codes"], **told["settings"])
        model = RecurrentLM(layer, letters=told["letters"], codes=told["codes"])
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UsageError(
            f"{str(folder)!r} holds no language model around a memory layer ({str(error).splitlines()[0]}): prepare one "
            "with `remanence prepare tiny-based`, or give the folder of one"
        ) from None
    return str(told["layer"]), model.eval()
