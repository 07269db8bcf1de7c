"""The claim of asymmetric rehearsal."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import CNN, SPLIT_CIFAR10, one_pass

CLAIM = Claim(
    system="er-ace",
    baseline="er",
    says="Letting new rows compete only among the classes of their batch surpasses plain rehearsal in single-pass "
    "class-incremental learning.",
    stream=SPLIT_CIFAR10,
    training=one_pass(CNN, 700),
    settings={"er-ace": {"size": 200}, "er": {"size": 200}},
    search={"er-ace": {"lr": [0.01, 0.03, 0.1]}, "er": {"lr": [0.01, 0.03, 0.1]}},
    equal="rows in memory, updates, rehearsed rows and passes",
    reduced="a small convolutional network instead of a residual one, and 700 examples per experience",
)
