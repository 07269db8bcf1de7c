"""Language models around memory layers that know nothing: what the contract of layers is tested on."""

from __future__ import annotations

from pathlib import Path

from remanence.context.recurrent.recipe import recipe
from remanence.models.prepare import keep
from remanence.models.recipe import CONFIGURATION


def small_recurrent_model(layer: str, folder: Path) -> str:
    """The folder of a small model around this layer, with the weights that its training begins with.

    Parameters
    ----------
    layer:
        By the name of its system.
    folder:
        In which models are kept; several processes may share it. It is made there where it is not yet.
    """
    wanted = recipe(f"micro-{layer}")
    place = folder / wanted.folder.name
    if not (place / CONFIGURATION).exists():
        place.mkdir(parents=True, exist_ok=True)
        keep(wanted, wanted.build(), place)
    return str(place)
