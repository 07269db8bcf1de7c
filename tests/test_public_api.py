"""What programs stand on does not go unannounced."""

import pytest

pytest.importorskip("griffe", reason="griffe is not installed: pip install 'remanence-memory[dev]'")

import public_api

OPEN = ["remanence.open", "remanence.open(path required, 1)", "remanence.open(mode = 'r', 2)"]


def test_nothing_that_the_snapshot_names_is_gone_or_asks_for_more():
    broken = public_api.breaks(public_api.SNAPSHOT.read_text("utf-8").splitlines(), public_api.lines())
    assert not broken, "name what breaks in the changelog's newest section, then: make api"


@pytest.mark.parametrize(
    ("now", "broken"),
    [
        (OPEN, []),
        ([*OPEN, "remanence.open(encoding = None, 3)", "remanence.close"], []),
        (OPEN[:2], OPEN[2:]),
        ([*OPEN, "remanence.open(lock required)"], ["remanence.open(lock required)"]),
        ([*OPEN[:2], "remanence.open(mode = 'w', 2)"], OPEN[2:]),
        ([], sorted(OPEN)),
    ],
    ids=["the same", "more", "one parameter less", "one that must be given", "another default", "nothing"],
)
def test_a_break_is_what_a_call_of_today_would_notice(now, broken):
    assert public_api.breaks(OPEN, now) == broken


@pytest.mark.parametrize(
    ("announced", "silent"),
    [("`open`", []), ("`rm.open`", []), ("`other.open`", OPEN), ("`open(mode)`", OPEN[:2]), ("open", OPEN)],
)
def test_a_break_is_announced_by_name_in_the_newest_section(announced, silent):
    log = f"# Changelog\n\n## Unreleased\n\n- {announced} went.\n\n## 0.1.0\n\n- `remanence.open`\n"
    assert public_api.unannounced(OPEN, log) == silent


def test_the_names_are_those_that_can_be_imported():
    import remanence as rm

    named = [line.split(".") for line in public_api.lines() if line.startswith("remanence.") and "(" not in line]
    for _, *path in (parts for parts in named if len(parts) == 2):
        assert hasattr(rm, path[0])
    assert {parts[1] for parts in named} == set(rm.__all__) - {"__version__"}
    assert hasattr(rm.store, "open") and ["remanence", "store", "open"] in named
