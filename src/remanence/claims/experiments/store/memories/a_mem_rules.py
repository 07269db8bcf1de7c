"""The claim of A-MEM's links and evolution."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="a-mem[rules]#linked",
    baseline="a-mem[rules]#plain",
    says="Notes that are linked and rewrite one another answer questions on long conversations better than the same "
    "notes without links.",
    stream={"source": "locomo", "scenarios": [["alone", {}]]},
    settings={
        "a-mem[rules]#linked": {"link": True, "evolve": True},
        "a-mem[rules]#plain": {"link": False, "evolve": False},
    },
    paper_metric="answers judged by F1",
    equal="ten notes for each answer; the same notes with the same keywords, tags and context",
    reduced="evidence turns found instead of answers judged, another conversation for each seed; keywords, tags, context, "
    "links and rewriting by rules, so that this is no verdict on the paper's system",
    cause="Linked notes take places of an answer that the next nearest notes would fill: what rules link is alike, and was "
    "near already. The paper adds linked notes to the nearest ones, and has a language model choose them.",
)
