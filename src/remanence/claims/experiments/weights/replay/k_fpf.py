"""The claim of periodic forgetting-prioritized finetuning."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import CNN, SPLIT_CIFAR10, one_pass

CLAIM = Claim(
    system="k-fpf",
    baseline="er",
    says="Finetuning the most forgetful parameters now and then, without rehearsal beside new rows, surpasses "
    "rehearsal at every step at about half its cost.",
    stream=SPLIT_CIFAR10,
    training=one_pass(CNN, 1000),
    settings={
        "er": {"size": 200},
        "k-fpf": {"size": 200, "every": 50, "updates": 20},
        "k-fpf#all parameters": {"size": 200, "every": 50, "updates": 20, "modules": "all"},
    },
    search={"k-fpf": {"lr": [0.01, 0.03, 0.1]}, "er": {"lr": [0.01, 0.03, 0.1]}},
    controls=("k-fpf#all parameters",),
    equal="bytes and passes over the stream; rows rehearsed are 60 for each 100 that er rehearses, the repair at the "
    "end of each experience included",
    reduced="a small convolutional network with group normalisation instead of a residual one with batch "
    "normalisation, one pass over 1,000 examples per experience",
)
