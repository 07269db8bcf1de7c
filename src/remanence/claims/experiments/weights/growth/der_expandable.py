"""The claim of expandable DER."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import SPLIT_MNIST

CLAIM = Claim(
    system="der-expandable",
    baseline="er",
    says="A new frozen body for each experience beats rehearsal with one body, given the same exemplars.",
    stream=SPLIT_MNIST,
    training={"model": "mlp:100,100", "batch_size": 10, "epochs": 3, "limit": 400},
    settings={"der-expandable": {"size": 100}, "er": {"size": 100}},
    search={"der-expandable": {"lr": [0.03, 0.1, 0.3]}, "er": {"lr": [0.03, 0.1, 0.3]}},
    equal=(
        "exemplars and epochs, as in the paper; the grown bodies' bytes and the classifier stage's updates "
        "are on top, so bytes are not equal"
    ),
    reduced="MNIST for CIFAR-100, two layers for ResNet-18, 3 epochs for 170, 400 examples per experience",
)
