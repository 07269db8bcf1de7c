"""The claim of utility-based perturbed gradient descent."""

from remanence.claims.claim import Claim

CLAIM = Claim(
    system="upgd",
    baseline="naive",
    says="On a stream of changing pixel permutations that tells no boundary, it answers new examples better than SGD.",
    stream={
        "source": "mnist",
        "scenarios": [["permute", {"experiences": 20}], ["disclose", {"boundaries": False, "classes": False}]],
    },
    metric="online_accuracy",
    training={"model": "mlp:100,100", "batch_size": 1, "epochs": 1, "limit": 400},
    search={
        "upgd": {"lr": [0.01, 0.03], "noise": [0.001, 0.01]},
        "naive": {"lr": [0.003, 0.01, 0.02, 0.03]},
    },
    equal="updates and passes over the stream; the utilities, as many bytes as the parameters, are on top",
    reduced="20 permutations of 400 examples instead of 200 of 5,000, and hidden layers of 100 instead of 300 and 150",
)
