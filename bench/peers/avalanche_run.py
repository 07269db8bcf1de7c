"""One whole run of Avalanche, in its own environment: training and evaluation, after imports and data.

It is given what speaks for it: float tensors in memory rather than images decoded one by one, no
loggers, and accuracy as the only metric.
"""

from __future__ import annotations

import json
import sys
import time

from bench.peers import stubs

stubs.install()

import torch  # noqa: E402
from avalanche.benchmarks import nc_benchmark  # noqa: E402
from avalanche.evaluation.metrics import accuracy_metrics  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin  # noqa: E402
from avalanche.training.storage_policy import ReservoirSamplingBuffer  # noqa: E402
from avalanche.training.supervised import Naive  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from bench.peers.common import BATCH, EVALUATION, LR, MEMORY, MODELS, whole_mnist  # noqa: E402


class InMemory(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Float images and labels."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.targets = x, y.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.x[row], self.targets[row]


def main(name: str, model: str) -> dict[str, float]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, test = whole_mnist()
    benchmark = nc_benchmark(
        InMemory(*train),
        InMemory(*test),
        n_experiences=5,
        task_labels=False,
        fixed_class_order=list(range(10)),
    )
    net: nn.Module = MODELS[model]()
    plugins = []
    if name == "er":
        storage = ReservoirSamplingBuffer(max_size=MEMORY)
        plugins.append(ReplayPlugin(mem_size=MEMORY, batch_size=BATCH, batch_size_mem=BATCH, storage_policy=storage))
    strategy = Naive(
        model=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=LR),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=BATCH,
        train_epochs=1,
        eval_mb_size=EVALUATION,
        plugins=plugins,
        evaluator=EvaluationPlugin(accuracy_metrics(experience=True, stream=True), loggers=[]),
    )
    wall, cpu, training = time.perf_counter(), time.process_time(), 0.0
    strategy.eval(benchmark.test_stream)
    found: dict[str, float] = {}
    for experience in benchmark.train_stream:
        began = time.process_time()
        strategy.train(experience, num_workers=0)
        training += time.process_time() - began
        found = strategy.eval(benchmark.test_stream)
    accuracy = [value for key, value in found.items() if key.startswith("Top1_Acc_Stream")]
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "training": training,
        "accuracy": float(accuracy[0]),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:3])))
