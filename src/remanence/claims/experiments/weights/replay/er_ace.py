"""The claim of asymmetric rehearsal."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="er-ace",
    baseline="er",
    says="Letting new rows compete only among the classes of their batch surpasses plain rehearsal in single-pass "
    "class-incremental learning.",
    stream={"source": "cifar10", "scenarios": [["split", {"experiences": 5, "order": "shuffled"}]]},
    training={"model": "cnn:16", "batch_size": 10, "epochs": 1, "limit": 700},
    settings={"er-ace": {"size": 200}, "er": {"size": 200}},
    search={"er-ace": {"lr": [0.01, 0.03, 0.1]}, "er": {"lr": [0.01, 0.03, 0.1]}},
    equal="rows in memory, updates, rehearsed rows and passes",
    reduced="a small convolutional network instead of a residual one, and 700 examples per experience",
)
