"""The claim of averaged gradient episodic memory."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="a-gem",
    baseline="ewc",
    says="One constraint on the mean over the episodic memory ends with a higher accuracy than EWC in one pass.",
    stream={"source": "mnist", "scenarios": [["permute", {"experiences": 10}]]},
    training={"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "limit": 1000},
    settings={"a-gem": {"size": 500}},
    search={
        "a-gem": {"lr": [0.03, 0.06, 0.1, 0.2]},
        "ewc": {"lr": [0.03, 0.1], "strength": [1.0, 3.0]},
    },
    equal="passes over the stream and updates; the memory holds 500 rows (0.4 MB), the importances and anchors of "
    "EWC 7 MB; the pass over 256 remembered rows at each step is on top, as in the paper",
    reduced="ten tasks instead of twenty and 50 remembered rows per task instead of 250",
)
