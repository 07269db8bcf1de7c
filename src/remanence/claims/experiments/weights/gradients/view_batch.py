"""The claim of view-batch learning."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import SPLIT_MNIST

CLAIM = Claim(
    system="er+view-batch",
    baseline="er",
    says="Seeing each example in several views at once, and again after a longer rest, raises the accuracy of the "
    "rehearsal method it is added to.",
    stream=SPLIT_MNIST,
    training={"model": "mlp:100,100", "batch_size": 16, "epochs": 8, "limit": 300},
    settings={"er": {"size": 200}, "er+view-batch": {"size": 200, "views": 4}},
    search={label: {"lr": [0.003, 0.01, 0.03, 0.1, 0.3]} for label in ("er+view-batch", "er")},
    equal="bytes, updates, rows through the network; the baseline sees no changed views, as in the paper's main table",
    reduced="digits and small affine views instead of natural images and learned policies, 8 epochs instead of 50, "
    "300 examples per experience",
)
