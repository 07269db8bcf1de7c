"""The claim of G-ACIL."""

from remanence.claims.claim import Claim

CLAIM = Claim(
    system="g-acil",
    baseline="er",
    says="On a blurry task-free stream, exact analytic learning without examples beats rehearsal of examples.",
    stream={"source": "mnist", "scenarios": [["blur", {"experiences": 5, "disjoint": 0.5, "blurry": 0.1}]]},
    training={"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "limit": 4000},
    search={"g-acil": {"gamma": [0.1, 1.0, 100.0]}, "er": {"lr": [0.01, 0.03, 0.1]}},
    budget="1MB",
    equal=(
        "bytes of the whole learner (matrices against network and reservoir) and one pass; er makes gradient steps "
        "and rehearses as many rows as are new"
    ),
    reduced=(
        "MNIST for CIFAR-100, 4,000 examples per experience at most, and a random layer on raw pixels for one on a "
        "pretrained transformer's features"
    ),
)
