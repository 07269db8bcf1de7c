"""The claim of backward-compatible training with basis transformations."""

from remanence.claims.engine.experiment import Experiment
from remanence.claims.measures.upgrades import RATES, SHARED, WEIGHTS, measure

CLAIM = Experiment(
    system="bt2",
    says="A few numbers more per vector, added by orthonormal transformations, make new vectors both compatible with "
    "the old and good among themselves, where backward-compatible training trades one for the other.",
    measure=measure,
    search={"bt2": {"lr": RATES, "influence": WEIGHTS}, "bct": {"lr": RATES, "influence": WEIGHTS}},
    **SHARED,
    equal="bytes per new vector (80 numbers), and epochs; BT² trains a model alone first, as the paper has it, "
    "which doubles its updates; bct#narrow has 64 numbers, as in the paper",
    reduced="two layers on pixels instead of a residual network, Omniglot with 15 drawings per class instead of "
    "CIFAR-100 or ImageNet, 40 epochs for 100, 16 extra numbers beside 64 instead of 32 beside 128",
)
