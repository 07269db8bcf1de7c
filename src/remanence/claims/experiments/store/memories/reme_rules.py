"""The claim of ReMe's refinement by utility."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="reme[rules]#refined",
    baseline="reme[rules]#append",
    says="A pool of lessons that drops those of little use serves later tasks better than one that only grows.",
    stream={
        "source": "cases",
        "scenarios": [["working", {"experiences": 8, "tasks": 40, "drift": 0.5, "success": 0.7, "distraction": 0.2}]],
    },
    settings={"reme[rules]#refined": {"every": 10}, "reme[rules]#append": {"every": 0}},
    search={"reme[rules]#refined": {"useful": [0.3, 0.5, 0.7]}, "reme[rules]#append": {"retrieved": [3, 5, 8]}},
    equal="the same tasks; the refined pool is the smaller",
    reduced="a log of 320 made-up tasks, half of whose rules change on the way, instead of agents with tools; lessons "
    "by rules, so that this is no verdict on the paper's system",
    cause="The refined pool has less than half of the lessons (some 100 of 225) and is as good, not better. All lessons that were retrieved are charged when the first one's action fails, right ones as well, so that where a task succeeds in about half of the cases both kinds are deleted. On two other seeds the difference was +0.06.",
)
