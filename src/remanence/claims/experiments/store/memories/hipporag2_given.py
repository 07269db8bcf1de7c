"""The claim of HippoRAG 2 where the facts of every passage are given."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import WALK

CLAIM = Claim(
    system="hipporag2[given]",
    **WALK,
    settings={"hipporag2[given]": {"names": 0.0}, "hipporag2[given]#with names": {"names": 2.0}},
    beside=("hipporag2[given]#with names",),
    reduced=(
        "facts that a language model had extracted, recognised by rules; 1,890 passages and 50 questions in five "
        "disjoint parts, of which choices were settled on 25 questions"
    ),
)
