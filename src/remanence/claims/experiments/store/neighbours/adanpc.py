"""The claim of AdaNPC."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="adanpc",
    baseline="naive",
    says="When the inputs drift through a series of domains without labels, a neighbour classifier that appends the "
    "questions it answers is right more often, over all domains at the end, than the trained network as it was.",
    stream={
        "source": "mnist",
        "scenarios": [
            ["rotate", {"experiences": 10, "degrees": 90}],
            ["unlabelled", {"after": 1}],
            ["limit", {"examples": 1000, "tests": 500}],
        ],
    },
    training={"model": "mlp:1000,400", "batch_size": 10},
    settings={"naive": {"epochs": 10}},
    search={
        "adanpc": {"neighbours": [5, 20], "confidence": [0.0, 0.7]},
        "naive": {"lr": [0.01, 0.03, 0.1, 0.3]},
    },
    budget="5MB",
    equal="bytes: a network as large as the memory of about 1,600 rows; the labelled rows, of which naive makes ten passes. "
    "On a seed of the search the same neighbours have 0.47 before they are asked about the other domains, and 0.63 after",
    reduced="one labelled domain of 1,000 digits and nine others, 10° further each, instead of several labelled ones; "
    "pixels instead of a trained encoder's features; no other method of test-time adaptation is here to compare with",
)
