"""The claim of MemoryBank's forgetting curve, with rules for its summaries."""

from remanence.claims.claim import Claim

CLAIM = Claim(
    system="memorybank[rules]",
    baseline="memorybank[rules]#age",
    says="Of equally many turns, those kept by a forgetting curve that recall strengthens answer more than the latest.",
    stream={"source": "facts", "scenarios": [["changing", {"sessions": 24, "people": 6, "changes": 0.0}]]},
    settings={
        "memorybank[rules]": {"capacity": 80, "summaries": False},
        "memorybank[rules]#age": {"capacity": 80, "summaries": False, "strengthen": False},
    },
    equal="turns kept, encoder and reading; the memory searches once more for each turn",
    reduced="written facts that nobody changes instead of ten days of simulated dialogue; turns alone, no summaries",
)
