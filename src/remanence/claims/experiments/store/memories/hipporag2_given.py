"""The claim of HippoRAG 2 where the facts of every passage are given."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="hipporag2[given]",
    baseline="rag",
    says="A walk over the graph of facts and passages finds more of what a question of several steps needs than vectors do.",
    stream={"source": "musique", "scenarios": [["fold", {"folds": 5}]]},
    settings={"hipporag2[given]": {"names": 0.0}, "hipporag2[given]#with names": {"names": 2.0}},
    beside=("hipporag2[given]#with names",),
    equal="the same passages, encoder and number of passages returned; the graph and its vectors are on top, and derived",
    reduced=(
        "facts that a language model had extracted, recognised by rules; 1,890 passages and 50 questions in five "
        "disjoint parts, of which choices were settled on 25 questions"
    ),
)
