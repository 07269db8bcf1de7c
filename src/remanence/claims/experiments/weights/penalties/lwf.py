"""The claim of learning without forgetting."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import MLP, one_pass

CLAIM = Claim(
    system="lwf",
    baseline="naive",
    says="Holding the old model's answers on new data keeps old tasks better than fine-tuning, with no old data.",
    stream={"source": "mnist", "scenarios": [["split", {"experiences": 5, "order": "shuffled", "task_ids": True}]]},
    training=one_pass(MLP, 1000),
    search={"lwf": {"lr": [0.01, 0.03, 0.1, 0.2]}, "naive": {"lr": [0.01, 0.03, 0.1, 0.2]}},
    equal="updates and passes over the stream; the frozen copy and its forward pass are on top, as in the paper",
    reduced="digits of MNIST instead of ImageNet and Places, five tasks of two classes, 1,000 examples each, one pass",
)
