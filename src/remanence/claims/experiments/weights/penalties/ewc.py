"""The claim of elastic weight consolidation."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import EWC_GRID, MLP, PERMUTED_MNIST, one_pass

CLAIM = Claim(
    system="ewc",
    baseline="naive",
    says="Holding weights in proportion to their Fisher information keeps earlier tasks that plain SGD forgets.",
    stream=PERMUTED_MNIST,
    training=one_pass(MLP, 1000),
    search={"ewc": EWC_GRID, "naive": {"lr": [0.03, 0.06, 0.1, 0.2]}},
    equal="updates and passes over the stream; the importances and anchors are on top of the model's bytes, as in the "
    "paper, and so is one reading of each experience for the Fisher",
    reduced="1,000 examples per task instead of all, one pass, two hidden layers of 100",
)
