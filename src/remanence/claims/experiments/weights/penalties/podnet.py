"""The claim of pooled outputs distillation."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="podnet",
    baseline="er",
    says="Holding pooled feature maps of every stage, with several vectors for each class, surpasses rehearsal of the "
    "same examples in class-incremental learning by small steps.",
    stream={"source": "mnist", "scenarios": [["split", {"experiences": 5, "order": "shuffled"}]]},
    training={"model": "cnn:8", "batch_size": 10, "epochs": 1, "limit": 500},
    settings={
        "podnet": {"size": 100, "proxies": 3, "spatial": 0.3, "flat": 0.1, "balanced_epochs": 5, "momentum": 0.0},
        "er": {"size": 100},
    },
    search={"podnet": {"lr": [0.03, 0.1, 0.3]}, "er": {"lr": [0.03, 0.1, 0.3]}},
    equal="exemplars and passes over the stream; the frozen copy, its forward pass and the balanced passes of the class "
    "vectors are on top, as in the paper",
    reduced="digits of MNIST instead of CIFAR100 in fifty steps, a small convolutional network instead of a residual one, "
    "500 examples per experience, one pass, three vectors for each class, weights of the distances a tenth of the paper's",
)
