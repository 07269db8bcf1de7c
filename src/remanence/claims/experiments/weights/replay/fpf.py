"""The claim of forgetting-prioritized finetuning."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import CNN, SPLIT_CIFAR10, one_pass

CLAIM = Claim(
    system="er+fpf",
    baseline="er",
    says="Finetuning only the most forgetful parameters on the memory raises the accuracy of the method it is added to.",
    stream=SPLIT_CIFAR10,
    training=one_pass(CNN, 1000),
    settings={
        "er": {"size": 200},
        "er+fpf": {"size": 200, "updates": 100},
        "er+fpf#all parameters": {"size": 200, "updates": 100, "modules": "all"},
    },
    search={"er+fpf": {"lr": [0.01, 0.03, 0.1]}, "er": {"lr": [0.01, 0.03, 0.1]}},
    controls=("er+fpf#all parameters",),
    equal="bytes and passes over the stream; the 100 updates of finetuning per experience are on top, as in the paper, and "
    "stand in the control on all parameters, too",
    reduced="a small convolutional network with group normalisation instead of a residual one with batch "
    "normalisation, one pass over 1,000 examples per experience",
)
