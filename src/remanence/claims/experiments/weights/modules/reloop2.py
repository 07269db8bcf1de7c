"""The claim of ReLoop2."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="reloop2",
    baseline="naive",
    says="On a stream that shifts, a network whose answers are corrected by a memory of recent labels is right more often "
    "about new rows than the same network trained incrementally without it.",
    stream={
        "source": "mnist",
        "scenarios": [
            ["permute", {"experiences": 20}],
            ["limit", {"examples": 500, "tests": 50}],
            ["disclose", {"boundaries": False, "classes": False}],
        ],
    },
    metric="online_accuracy",
    paper_metric="area under the ROC curve",
    training={"model": "mlp:100,100", "batch_size": 10, "epochs": 1},
    search={
        "reloop2": {"lr": [0.1, 0.2], "weight": [0.3, 0.6], "half_life": [300, 1000]},
        "naive": {"lr": [0.02, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3]},
    },
    equal="updates and passes; the error memory's bytes are on top of the network's, as in the paper. Every row is asked "
    "right before it is learned, once",
    reduced="20 permutations of 500 digits instead of millions of clicks, accuracy instead of the area under the curve; "
    "the network learns from every batch instead of now and then",
)
