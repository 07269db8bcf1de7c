"""The claim of averaged gradient episodic memory."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import EPISODIC, EWC_GRID

CLAIM = Claim(
    system="a-gem",
    baseline="ewc",
    says="One constraint on the mean over the episodic memory ends with a higher accuracy than EWC in one pass.",
    **EPISODIC,
    settings={"a-gem": {"size": 500}},
    search={
        "a-gem": {"lr": [0.03, 0.06, 0.1, 0.2]},
        "ewc": EWC_GRID,
    },
    reduced="ten tasks instead of twenty and 50 remembered rows per task instead of 250",
)
