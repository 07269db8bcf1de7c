"""The claim of experience replay."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import MLP, SPLIT_MNIST, one_pass

CLAIM = Claim(
    system="er",
    baseline="naive",
    says="Rehearsing a tiny reservoir beside each new batch raises the final accuracy of single-pass learning.",
    stream=SPLIT_MNIST,
    training=one_pass(MLP, 2000),
    settings={"er": {"size": 200}},
    search={"er": {"lr": [0.03, 0.1, 0.3]}, "naive": {"lr": [0.03, 0.1, 0.3]}},
    equal="updates and passes over the stream; the memory's bytes are on top of the model's, as in the paper",
    reduced="2,000 examples per experience instead of all",
)
