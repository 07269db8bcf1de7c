"""The claim of the nearest class mean."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import LINEAR, SPLIT_CLINC150, one_pass

CLAIM = Claim(
    system="ncm",
    baseline="er",
    says="The nearest class mean on frozen features of a pretrained encoder surpasses trained continual learners, "
    "those that rehearse among them, on class-incremental streams.",
    stream=SPLIT_CLINC150,
    training=one_pass(LINEAR, 500),
    settings={"er": {"size": 200}},
    search={"er": {"lr": [1.0, 3.0, 10.0, 30.0]}, "ewc": {"lr": [0.3, 3.0], "strength": [1.0, 100.0]}},
    beside=("ewc",),
    equal="passes over the stream and the frozen encoder; the learner beside it trains a linear layer on the same "
    "vectors and keeps more bytes; the nearest mean has nothing to search, since the vectors have length one anyway",
    reduced="sentence vectors of 15 groups of 10 intents instead of images of 10 groups of 10 classes, and at most "
    "500 examples per group",
)
