"""The claim of experience replay."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="er",
    baseline="naive",
    says="Rehearsing a tiny reservoir beside each new batch raises the final accuracy of single-pass learning.",
    stream={"source": "mnist", "scenarios": [["split", {"experiences": 5, "order": "shuffled"}]]},
    training={"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "limit": 2000},
    settings={"er": {"size": 200}},
    search={"er": {"lr": [0.03, 0.1, 0.3]}, "naive": {"lr": [0.03, 0.1, 0.3]}},
    equal="updates and passes over the stream; the memory's bytes are on top of the model's, as in the paper",
    reduced="2,000 examples per experience instead of all",
)
