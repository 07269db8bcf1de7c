"""The claim of orthogonal compatible alignment."""

from remanence.claims.engine.experiment import Experiment
from remanence.claims.measures.upgrades import RATES, SHARED, WEIGHTS, measure

CLAIM = Experiment(
    system="oca",
    says="Extra numbers and a learnt orthogonal transformation keep new vectors compatible with the old, and better among "
    "themselves than backward-compatible training does.",
    measure=measure,
    search={"oca": {"lr": RATES, "alignment": WEIGHTS}, "bct": {"lr": RATES, "influence": WEIGHTS}},
    **SHARED,
    equal="bytes per new vector (80 numbers), epochs and updates; bct#narrow has 64 numbers, as in the paper",
    reduced="two layers on pixels instead of a residual network, Omniglot with 15 drawings per class instead of "
    "CIFAR-100 or ImageNet, 40 epochs",
    cause="a free linear classifier reads a turned vector as well as a plain one, since its matrix can turn back, so that "
    "both fit the same functions and differ in their steps alone: over five seeds OCA had 0.210 and the baseline with as "
    "many numbers 0.205; against the baseline with the old number of numbers, as in the paper, 0.199",
)
