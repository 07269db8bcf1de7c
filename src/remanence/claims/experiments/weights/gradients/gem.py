"""The claim of gradient episodic memory."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="gem",
    baseline="ewc",
    says="Constraining each step by episodic memories ends with a higher accuracy over all tasks than EWC in one pass.",
    stream={"source": "mnist", "scenarios": [["permute", {"experiences": 10}]]},
    training={"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "limit": 1000},
    settings={"gem": {"size": 500}},
    search={
        "gem": {"lr": [0.03, 0.1], "margin": [0.0, 0.5]},
        "ewc": {"lr": [0.03, 0.1], "strength": [1.0, 3.0]},
    },
    equal="passes over the stream and updates; the memory holds 500 rows (0.4 MB), the importances and anchors of "
    "EWC 7 MB; the passes over the memory at each step are on top, as in the paper",
    reduced="ten tasks instead of twenty and 50 remembered rows per task instead of 256",
)
