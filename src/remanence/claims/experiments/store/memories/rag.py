"""The claim of retrieval-augmented generation's retriever."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="rag",
    baseline="bm25",
    says="Passages found by the inner product of learned vectors serve open questions better than those that BM25 finds.",
    stream={"source": "musique", "scenarios": [["fold", {"folds": 5}]]},
    equal="the same passages and as many of them returned; both hold text, vectors and full-text index",
    reduced="the retriever alone, frozen and not trained on the task, on 1,890 passages and 50 questions in five disjoint parts",
    cause="Fifty questions in five parts are few: the difference is on the claimed side, its bound is not. The encoder was not trained for the task, as the paper's is, and BM25 over stems is strong where questions name things.",
)
