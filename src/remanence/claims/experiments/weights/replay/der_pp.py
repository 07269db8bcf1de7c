"""The claim of dark experience replay."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import MLP, PERMUTED_MNIST, one_pass

CLAIM = Claim(
    system="der++",
    baseline="er",
    says="Matching remembered scores beside remembered labels surpasses rehearsing labels alone.",
    stream=PERMUTED_MNIST,
    training=one_pass(MLP, 2000),
    settings={"der++": {"size": 200}, "er": {"size": 200, "rehearsed": 20}},
    search={
        "der++": {"lr": [0.05, 0.1, 0.2], "alpha": [0.2, 1.0]},
        "er": {"lr": [0.03, 0.05, 0.1, 0.2, 0.3, 0.5]},
    },
    equal="rows in memory, updates, and rehearsed rows per update (both of its draws are counted, and er gets twice "
    "the usual); the remembered scores are on top, 44 bytes beside a row of 800",
    reduced="10 permutations of 2,000 examples instead of 20 of 60,000, batches of 10 instead of 128; with 500 "
    "examples, where the model that gives the remembered scores has made 50 updates for each permutation, the "
    "two do not differ (-0.005, at least -0.010)",
)
