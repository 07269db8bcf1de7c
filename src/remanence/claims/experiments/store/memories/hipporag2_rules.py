"""The claim of HippoRAG 2 with rules in the language model's place; it does not count as the paper's."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import WALK

CLAIM = Claim(
    system="hipporag2[rules]",
    **WALK,
    settings={"hipporag2[rules]": {"names": 0.0}, "hipporag2[rules]#with names": {"names": 2.0}},
    beside=("hipporag2[rules]#with names",),
    reduced=(
        "rules read and recognise the facts; 1,890 passages and 50 questions in five disjoint parts, of which choices "
        "were settled on 25 questions"
    ),
)
