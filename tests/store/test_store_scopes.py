"""Nothing crosses a scope unasked, in both databases."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remanence.errors import UsageError

PARTS = st.text(st.sampled_from("ab0.-_%~éZ /"), min_size=1, max_size=3).filter(
    lambda part: part.strip() and part not in (".", "..") and "/" not in part
)
PATHS = st.lists(PARTS, min_size=0, max_size=3).map("/".join)


def test_a_scope_holds_what_lies_below_it_and_nothing_else(store):
    paths = ["", "user", "user/42", "user/42/work", "user/421", "user/4", "user-x", "users", "user0", "USER/42"]
    for path in paths:
        store.write(f"the secret of {path or 'the root'}", scope=path)
    for asked in ("user", "user/42", "user/4", "USER"):
        expected = {path for path in paths if path == asked or path.startswith(asked + "/")}
        for mode in ("hybrid", "dense", "text"):
            assert {hit.record.scope for hit in store.read("the secret", k=50, scope=asked, mode=mode)} == expected
        assert {record.scope for record in store.list(scope=asked)} == expected
    assert {hit.record.scope for hit in store.read("the secret", k=50)} == {""}
    assert {hit.record.scope for hit in store.read("the secret", k=50, scope="*")} == set(paths)
    assert list(store.scopes()) == sorted(paths)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(PATHS, min_size=1, max_size=6), asked=PATHS)
def test_any_scope_holds_just_what_its_path_says(store, paths, asked):
    store.forget(scope="*")
    for path in paths:
        store.write("x", scope=path)
    kept = [path.strip("/") for path in paths]
    wanted = asked.strip("/")
    expected = [path for path in kept if path == wanted or (wanted and path.startswith(wanted + "/"))]
    assert sorted(record.scope for record in store.list(scope=asked)) == sorted(expected)


def test_a_scope_that_nothing_was_written_under_is_refused_with_a_hint(store):
    with pytest.raises(UsageError, match="no scope was used yet"):
        store.read("anything", scope="user/1")
    store.write("x", scope="user/42")
    with pytest.raises(UsageError, match="did you mean 'user/42'"):
        store.read("anything", scope="user/41")
    assert store.read("x", scope="user")[0].record.scope == "user/42"


def test_a_scope_is_gone_when_its_last_record_is_forgotten(store):
    store.write("x", scope="a")
    store.write("y", scope="b")
    store.forget(scope="a")
    assert list(store.scopes()) == ["b"]


@pytest.mark.parametrize("path", ["a//b", "a/../b", "*/b", "a/ /b", "x" * 501, 7])
def test_what_is_no_path_is_refused(store, path):
    with pytest.raises(UsageError, match="scope"):
        store.write("x", scope=path)
    assert len(store) == 0


def test_percent_signs_and_underscores_in_scopes_are_letters(store):
    store.write("one", scope="a_c/x")
    store.write("two", scope="abc/x")
    store.write("three", scope="a%/x")
    assert [record.text for record in store.list(scope="a_c")] == ["one"]
    assert [record.text for record in store.list(scope="a%")] == ["three"]
