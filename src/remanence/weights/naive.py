"""Plain training with nothing against forgetting: the lower baseline.

What is remembered are the weights alone, and the next experience overwrites them. It costs nothing
beyond the model.
"""

from __future__ import annotations

from remanence.registry import system
from remanence.weights.part import Part


@system(
    "naive",
    training={"lr": 0.1},
    training_by_source={"clinc150": {"lr": 30.0}},
    tuning_note="best on digits of 0.03 to 0.3 by mean final accuracy on held-out training rows; on MNIST all of 0.01 to 0.3 tie; on clinc150 best of 1, 3, 10, 30 on held-out training rows",
)
class Naive(Part):
    """Nothing is added to the loop.

    Example
    -------
    >>> import remanence as rm
    >>> rm.make("naive", rm.streams.split("digits", experiences=5)).footprint().total > 0
    True
    """
