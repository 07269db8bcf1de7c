"""The claim of joint training: that it bounds from above what single-pass learners reach."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import MLP, SPLIT_MNIST, one_pass

CLAIM = Claim(
    system="joint",
    baseline="er",
    says="Training on all data at once bounds from above what rehearsal of a small sample reaches.",
    stream=SPLIT_MNIST,
    training=one_pass(MLP, 1000),
    settings={"er": {"size": 200}},
    search={"joint": {"lr": [0.01, 0.03, 0.1]}, "er": {"lr": [0.01, 0.03, 0.1]}},
    equal="passes over the data for the model that is asked at the end; bytes and updates are not, since joint "
    "keeps everything and retrains after each experience",
    reduced="1,000 examples per experience instead of all",
)
