"""The claim of MEMO."""

from remanence.claims.claim import Claim

CLAIM = Claim(
    system="memo",
    baseline="der-expandable",
    says=(
        "When exemplars and models share one number of bytes, adding only the last layers for each experience "
        "and keeping more exemplars beats adding whole networks."
    ),
    stream={"source": "mnist", "scenarios": [["split", {"experiences": 5, "order": "shuffled"}]]},
    training={"model": "cnn:8", "batch_size": 32, "epochs": 3, "limit": 300},
    search={"memo": {"lr": [0.03, 0.1, 0.3]}, "der-expandable": {"lr": [0.03, 0.1, 0.3]}},
    budget="200KB",
    equal=(
        "bytes of the whole learner, parameters and exemplars together, and epochs; the expandable body's "
        "classifier phase makes updates on top"
    ),
    reduced="MNIST for CIFAR-100, a three-layer network for ResNet-32, 3 epochs for 170, 300 examples per experience",
)
