"""The claim of gradient episodic memory."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import EPISODIC, EWC_GRID

CLAIM = Claim(
    system="gem",
    baseline="ewc",
    says="Constraining each step by episodic memories ends with a higher accuracy over all tasks than EWC in one pass.",
    **EPISODIC,
    settings={"gem": {"size": 500}},
    search={
        "gem": {"lr": [0.03, 0.1], "margin": [0.0, 0.5]},
        "ewc": EWC_GRID,
    },
    reduced="ten tasks instead of twenty and 50 remembered rows per task instead of 256",
)
