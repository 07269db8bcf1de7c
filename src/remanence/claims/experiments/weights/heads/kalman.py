"""The claim of the Kalman filter for online classification."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="kalman",
    baseline="kalman#fixed",
    says="Learning how fast to forget predicts a changing stream better than any fixed rate of forgetting.",
    stream={
        "source": "digits",
        "scenarios": [["permute", {"experiences": 10}], ["disclose", {"boundaries": False, "classes": False}]],
    },
    metric="online_accuracy",
    training={"batch_size": 10},
    settings={"kalman#fixed": {"rate": 0.0}},
    search={
        "kalman": {"rate": [0.0001, 0.001, 0.01, 0.1]},
        "kalman#fixed": {"delta": [0.0, 0.0002, 0.002, 0.02]},
    },
    equal="bytes, updates and passes; every row is asked right before it is learned, once",
    reduced="pixels of digits, permuted anew nine times, instead of pretrained features of natural images",
)
