"""The claim of MemoryBank's forgetting curve, with rules for its summaries."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="memorybank[rules]",
    baseline="memorybank[rules]#age",
    says="Of equally many turns, those kept by a forgetting curve that recall strengthens answer more than the latest.",
    stream={
        "source": "facts",
        "scenarios": [["changing", {"sessions": 60, "people": 1, "changes": 0.0, "chatter": 3}]],
    },
    settings={
        # Under a capacity the baseline has nothing to search, so that the memory keeps the defaults of its card.
        "memorybank[rules]": {"capacity": 60, "summaries": False},
        "memorybank[rules]#one recall": {"capacity": 60, "summaries": False, "recalls": 1},
        "memorybank[rules]#age": {"capacity": 60, "summaries": False, "strengthen": False},
    },
    beside=("memorybank[rules]#one recall",),
    equal="turns kept, encoder and reading; the memory searches once more for each turn",
    reduced="one person's written facts that do not change, with six questions at the end, instead of ten days of "
    "simulated dialogue; turns alone, no summaries",
)
