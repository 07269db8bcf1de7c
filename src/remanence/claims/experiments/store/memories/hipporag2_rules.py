"""The claim of HippoRAG 2 with rules in the language model's place; it does not count as the paper's."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="hipporag2[rules]",
    baseline="rag",
    says="A walk over the graph of facts and passages finds more of what a question of several steps needs than vectors do.",
    stream={"source": "musique", "scenarios": [["fold", {"folds": 5}]]},
    settings={"hipporag2[rules]": {"names": 0.0}, "hipporag2[rules]#with names": {"names": 2.0}},
    beside=("hipporag2[rules]#with names",),
    equal="the same passages, encoder and number of passages returned; the graph and its vectors are on top, and derived",
    reduced=(
        "rules read and recognise the facts; 1,890 passages and 50 questions in five disjoint parts, of which choices "
        "were settled on 25 questions"
    ),
)
