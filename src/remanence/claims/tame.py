"""The claim of TAME."""

from remanence.claims.claim import Claim

CLAIM = Claim(
    system="tame",
    baseline="a-gem",
    says="Experts that are switched by the loss alone beat averaged gradient episodic memory on permuted digits.",
    stream={"source": "mnist", "scenarios": [["permute", {"experiences": 4}]]},
    training={"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "limit": 2000},
    settings={"tame": {"size": 500}, "a-gem": {"size": 500}},
    search={"tame": {"lr": [0.01, 0.03, 0.1, 0.3]}, "a-gem": {"lr": [0.01, 0.03, 0.1, 0.3]}},
    equal="rows kept, epochs; the experts' bytes and the selector's updates are on top, and boundaries are told to a-gem",
    reduced="4 permutations for 20, 2,000 examples per experience for 60,000, and the experts are not pruned",
)
