"""The claim of Think-in-Memory, with rules in place of the language model that thinks."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="tim[rules]",
    baseline="rag",
    says="Thoughts that are forgotten and merged in hash buckets answer more correctly than the turns they came from.",
    stream={"source": "facts", "scenarios": [["changing", {"sessions": 20, "people": 6}]]},
    equal="encoder and number of records named; the memory looks at one bucket only, and holds fewer records",
    reduced="written facts and questions with known answers instead of rated Chinese dialogues; the thoughts are made "
    "by rules, so this counts for the variant and not for the paper",
    cause="over five other seeds a question hashed to another bucket than the thought that answers it in 35 of 100 "
    "cases with 4 buckets (20 with 2, 50 with 16), and nothing looks there; where they met 0.55 were right against "
    "0.31 of the turns' reader, 0.36 over all",
)
