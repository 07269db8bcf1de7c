"""Writes, with the code as it is, the small files of one release that later ones must open.

``python tests/kept/write.py 0.1.0`` makes ``tests/kept/0.1.0``, and what each file must answer in ``answers.json``. It is
run once a release, before anything that is written changes, and its files are never written again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import remanence as rm
from remanence.arena.report import Report

KEPT = Path(__file__).parent
LEARNERS = ("er", "ncm", "g-acil")
SETTINGS: dict[str, dict[str, Any]] = {"er": {"model": "mlp:8", "size": 10}, "ncm": {}, "g-acil": {"buffer": 24}}
QUESTION = "Where does Ana live?"


def pixels() -> torch.Tensor:
    """Ten inputs that need no data set."""
    return (torch.arange(640).view(10, 1, 8, 8) * 7 % 17 / 16).float()


def model() -> Any:
    """A language model with weights from a formula, the same under every release of torch and transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    made = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for number, weight in enumerate(made.parameters()):
            weight.copy_(0.6 * torch.sin(torch.arange(weight.numel()) * (number + 1.7)).view_as(weight))
    return made


def read_on(cache: Any, llama: Any) -> list[float]:
    """The scores of the token that follows four more."""
    with torch.no_grad(), cache.attach(llama):
        return [float(score) for score in llama(torch.arange(4)[None], past_key_values=cache).logits[0, -1]]


def main(release: str) -> None:
    folder = KEPT / release
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    answers: dict[str, Any] = {}
    stream = rm.streams.split("digits", experiences=5)
    for name in LEARNERS:
        learner = rm.make(name, stream, **SETTINGS[name])
        for experience in list(stream.experiences())[:2]:
            learner.learn(experience)
        learner.save(folder / f"{name}.safetensors")
        answers[name] = learner.predict(pixels()).scores.tolist()
    llama = model()
    cache = rm.context.cache("sirllm", model=llama, tokens=12)
    with torch.no_grad(), cache.attach(llama):
        llama(torch.arange(30)[None] % 40, past_key_values=cache)
    cache.save(folder / "cache.safetensors")
    answers["cache"] = read_on(cache, llama)
    with rm.store.open(folder / "memory.db", encoder=None) as store:
        ana = store.write("Ana lives in Lisbon", speaker="Ana", said_at="2026-05-03T10:00Z", scope="user/42")
        store.write("Ben has a red bicycle", speaker="Ben", scope="user/42")
        store.revise(ana.id, "Ana lives in Porto", expected_version=1)
        store.export(folder / "memory.jsonl")
        answers["store"] = [hit.text for hit in store.read(QUESTION, k=2, scope="user/42")]
    command = [sys.executable, "-m", "remanence", "run", "digits", "--learners", "ncm", "--seeds", "1", "--out", "run"]
    subprocess.run(command, cwd=folder, check=True)
    for path in [
        *folder.glob("run/*.png"),
        folder / "run/report.html",
        *folder.glob("*.db-*"),
        *folder.glob("run/.lock"),
    ]:
        path.unlink(missing_ok=True)
    told = json.loads((folder / "run/environment.json").read_text("utf-8"))
    (folder / "run/environment.json").write_text(json.dumps({**told, "platform": "Linux"}, indent=1), "utf-8")
    answers["run"] = Report.load(folder / "run").results[0].accuracy
    (folder / "answers.json").write_text(json.dumps(answers, indent=1), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
