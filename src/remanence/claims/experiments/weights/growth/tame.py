"""The claim of TAME."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import MLP, PERMUTED_MNIST, one_pass

CLAIM = Claim(
    system="tame",
    baseline="a-gem",
    says="Experts that are switched by the loss alone beat averaged gradient episodic memory on permuted digits.",
    stream=PERMUTED_MNIST,
    training=one_pass(MLP, 2000),
    settings={"tame": {"size": 500}, "a-gem": {"size": 500}},
    search={
        "tame": {"lr": [0.03, 0.1, 0.2], "window": [30, 100]},
        "a-gem": {"lr": [0.01, 0.03, 0.06, 0.1, 0.2, 0.3]},
    },
    equal="rows kept, epochs; the experts' bytes and the selector's updates are on top, and boundaries are told to a-gem",
    reduced="10 permutations for 20, 2,000 examples in one pass for 60,000 in ten, and the experts are not pruned; an "
    "experience has 200 updates, of which the paper's window of 100 losses covers the steep half, so that a "
    "shorter window is searched, too",
)
