"""The claim of AgentFly's learned retrieval policy."""

from remanence.claims.engine.claim import Claim

CLAIM = Claim(
    system="agentfly#learned",
    baseline="agentfly#similar",
    says="A policy that learns online which cases help chooses better ones than their similarity to the task.",
    stream={"source": "cases", "scenarios": [["working", {"experiences": 8, "tasks": 40}]]},
    settings={"agentfly#learned": {"policy": "learned"}, "agentfly#similar": {"policy": "similar"}},
    paper_metric="share of research tasks solved",
    equal="the same cases are kept, and only those that worked are returned, by both; the learned policy has its "
    "network besides",
    reduced="a log of 320 made-up tasks, one action each, instead of agents at research tasks; the share of new tasks "
    "whose first case shows the right action",
)
