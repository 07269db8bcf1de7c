"""The claim of Keep Me Updated, with rules in place of its trained operator."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="keep-me-updated[rules]",
    baseline="keep-me-updated[rules]#accumulate",
    says="Setting each session's sentences against those remembered answers what is true now better than accumulating them.",
    stream={"source": "facts", "scenarios": [["changing", {"sessions": 20, "people": 6}]]},
    settings={"keep-me-updated[rules]#accumulate": {"update": False}},
    equal="sentences, encoder and reading; the store is smaller by what was dropped",
    reduced="written facts and questions with known answers instead of rated Korean dialogues; the operator is rules, "
    "so this counts for the variant and not for the paper",
)
