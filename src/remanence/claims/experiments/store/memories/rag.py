"""The claim of retrieval-augmented generation's retriever."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="rag",
    baseline="bm25",
    says="Passages found by the inner product of learned vectors serve open questions better than those that BM25 finds.",
    stream={"source": "locomo", "scenarios": [["alone", {}]]},
    seeds=6,
    equal="the same passages and as many of them returned; both hold text, vectors and full-text index",
    reduced="the retriever alone, frozen and not trained on the task, on 883 questions about six long conversations; on the 50 "
    "questions of MuSiQue here the two did not differ clearly (+0.065, at least -0.008)",
)
