"""The claim of the self-controlled memory."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="scm[rules]",
    baseline="recent",
    says="Turns chosen by relevance and recency answer questions on a long talk that a window of its end cannot.",
    stream={"source": "facts", "scenarios": [["changing", {"sessions": 12, "people": 8, "k": 5}]]},
    beside=("rag",),
    paper_metric="answers judged by people",
    equal="five turns for each answer, the same archive",
    reduced="made-up talk of some 200 turns instead of dialogues, books and meetings; the share of questions with a right "
    "turn among five; controller and summaries by rules, so that this is no verdict on the paper's system",
)
