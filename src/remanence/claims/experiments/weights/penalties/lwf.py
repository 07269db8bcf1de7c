"""The claim of learning without forgetting."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="lwf",
    baseline="naive",
    says="Holding the old model's answers on new data keeps old tasks better than fine-tuning, with no old data.",
    stream={"source": "mnist", "scenarios": [["split", {"experiences": 5, "order": "shuffled", "task_ids": True}]]},
    training={"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "limit": 1000},
    search={"lwf": {"lr": [0.01, 0.03, 0.1, 0.2]}, "naive": {"lr": [0.01, 0.03, 0.1, 0.2]}},
    equal="updates and passes over the stream; the frozen copy and its forward pass are on top, as in the paper",
    reduced="digits of MNIST instead of ImageNet and Places, five tasks of two classes, 1,000 examples each, one pass",
)
