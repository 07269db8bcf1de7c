"""The claim of task-conditioned hypernetworks."""

from remanence.claims.claim import Claim

CLAIM = Claim(
    system="hnet",
    baseline="ewc",
    says="Told the task, a hypernetwork with a penalty on what it makes forgets less than a penalty on weights.",
    stream={
        "source": "mnist",
        "scenarios": [["permute", {"experiences": 5}], ["disclose", {"task_ids": True, "test_task_ids": True}]],
    },
    training={"model": "mlp:100,100", "batch_size": 32, "epochs": 3, "limit": 1000},
    settings={"hnet": {"optimizer": "adam"}, "ewc": {"optimizer": "adam"}},
    search={
        "hnet": {"lr": [0.001, 0.003], "beta": [0.01, 0.1]},
        "ewc": {"lr": [0.001, 0.003], "strength": [10.0, 1000.0]},
    },
    equal="updates and passes; the hypernetwork has 0.75 times the weights that it makes, and one copy of itself",
    reduced="5 permutations for 10 to 100, layers of 100 for 1,000, 1,000 examples per experience for 60,000",
)
