"""What holds for every registered system, whatever it is: each is led along its small stream once."""

import pytest

from remanence import testing
from remanence.registry import all_systems

# Cache policies share one learner and layers another, and what they keep is tested for each of them in its own file:
# some stand for all
STAND_FOR_ALL = {"cache policy": ("attention-sinks", "sirllm", "em-llm"), "memory layer": ("based", "titans")}


def walked(card):
    soak = card.name not in STAND_FOR_ALL.get(card.runner.kind, (card.name,))
    # All checks of a system run in one worker, one after another, so that they share its walk
    marks = [pytest.mark.xdist_group(card.name), *([pytest.mark.soak] if soak else [])]
    return pytest.param(card.composed_name, marks=marks)


NAMES = [walked(card) for card in all_systems().values() if card.runs_on_streams]


@pytest.fixture(scope="module", params=NAMES)
def walk(request):
    return testing.walk(request.param)


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
def test_contract(walk, check):
    check(walk)
