"""The claim of visual memory."""

from remanence.claims.engine.claim import Claim
from remanence.claims.measures.setups import LINEAR, SPLIT_CLINC150, one_pass

CLAIM = Claim(
    system="visual-memory",
    baseline="er",
    says="Inserting the embeddings of new classes into a memory, with no training, keeps the old ones and answers "
    "better than fine-tuning a linear layer on the same frozen embeddings.",
    stream=SPLIT_CLINC150,
    training=one_pass(LINEAR, 500),
    search={
        "visual-memory": {"neighbours": [10, 100], "pruning": ["none", "soft"]},
        "er": {"lr": [3.0, 10.0, 30.0, 100.0]},
    },
    budget="12.5MB",
    equal="bytes of the whole learner beside the frozen encoder, and one pass: a memory of all embeddings, as in the "
    "paper, against a linear layer with a rehearsal memory that has room for all of them, too; er makes gradient steps "
    "and rehearses as many rows as are new",
    reduced="sentence vectors of 150 intents instead of images of 1,064 classes, and 500 examples per experience. In "
    "3 MB, where both have room for a quarter of the examples and neither prunes, the two do not differ (-0.001, at least "
    "-0.009); a memory of embeddings lives on what it holds, and a linear layer keeps something of what it no longer does",
)
