"""The claim of the discrete key-value bottleneck."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import LINEAR, SPLIT_CLINC150, one_pass

CLAIM = Claim(
    system="dkvb",
    baseline="naive",
    says="Behind a frozen encoder, a bottleneck of fixed keys and learned values keeps classes that a linear layer "
    "trained on the same features forgets.",
    stream=SPLIT_CLINC150,
    training=one_pass(LINEAR, 500),
    search={"dkvb": {"lr": [30.0, 300.0, 1000.0, 3000.0]}, "naive": {"lr": [0.03, 0.3, 1.0, 3.0]}},
    equal="updates, passes and the frozen encoder; the bottleneck holds more bytes, as in the paper",
    reduced="sentence vectors instead of images, 64 codebooks of 256 pairs, one pass, keys placed on the first "
    "experience instead of a data set of their own",
)
