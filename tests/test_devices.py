"""No system mixes tensors of the CPU with those of another device: learning, answering, forgetting, coming back."""

from __future__ import annotations

import contextlib

import pytest
import torch

import remanence as rm
from pretended_device import DEVICE, Pretended
from remanence.composition import compose
from remanence.errors import Unsupported
from remanence.factory import build, recipe_for
from remanence.registry import all_systems

SMALL = {
    "size": 30,
    "updates": 2,
    "books": 4,
    "pairs": 8,
    "passes": 1,
    "classifier_epochs": 1,
    "window": 8,
    "warm_up": 4,
}
# a hypernetwork keeps the network whose weights it makes on the device that is used as the pretended one here
NAMES = [
    card.composed_name
    for card in all_systems().values()
    if (card.runner.composes or card.name == "joint") and card.name != "hnet"
]


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr("remanence.weights.parts_learner.pick_device", lambda name: DEVICE)
    real = torch.tensor

    def tensor(*given, device=None, **options):  # torch makes these at once, unseen by the mode
        made = real(*given, **options)
        return made if device is None else made.to(device)

    monkeypatch.setattr(torch, "tensor", tensor)
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with Pretended():
        yield
    torch.__future__.set_overwrite_module_params_on_conversion(before)


def test_the_pretended_device_refuses_what_a_gpu_refuses():
    with Pretended():
        there, here = torch.ones(4, device=DEVICE), torch.arange(2)
        assert (there + 1).device == DEVICE and (there + 1).tolist() == [2.0] * 4
        assert there[here].device == DEVICE
        for mixed in (
            lambda: there.index_select(0, here),
            lambda: there + torch.ones(4),
            lambda: here[here.to(DEVICE)],
        ):
            with pytest.raises(RuntimeError, match="CPU"):
                mixed()
        with pytest.raises(RuntimeError, match="generator"):
            torch.rand(3, device=DEVICE, generator=torch.Generator())


@pytest.mark.parametrize("name", NAMES)
def test_a_learner_on_another_device_keeps_its_tensors_there(name, pretended):
    stream = rm.streams.limit(rm.streams.split("digits", experiences=5), 64, tests=8)
    known = {h.name for card in compose(name).systems for h in card.hyperparameters}
    settings = {key: value for key, value in SMALL.items() if key in known}
    small = [getattr(card.factory, "small", {}) for card in compose(name).systems]
    model = next((own["model"] for own in small if "model" in own), "mlp:12")  # a network that has what it reads
    learner = build(recipe_for(name, stream, model=model, settings={**settings, "batch_size": 16, "device": "cuda"}))
    experiences = list(stream.experiences())[:3]
    for experience in experiences[:2]:
        learner.learn(experience)
    test = stream.tests[0]
    assert len(learner.predict(test.x).labels) == len(test.x)
    rows = experiences[0].examples.span(0, 10)
    with contextlib.suppress(Unsupported):
        learner.forget(rm.Request(ids=tuple(rows.ids.tolist())))
        learner.forget(rm.Request(x=rows.x, y=rows.y))
        learner.forget(rm.Request(label=experiences[0].classes[0]))
    learner.snapshot("now")
    learner.restore("now")
    learner.learn(experiences[2])
    assert {tensor.device for tensor in learner.state_dict().values()} == {DEVICE}
