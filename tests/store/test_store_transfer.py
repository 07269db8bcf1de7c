"""Export and import: a whole store as JSON lines, from either database into either."""

from __future__ import annotations

import json

import pytest

import remanence.store as stores
from remanence.errors import UsageError


def fill(store):
    a = store.write(
        "Ana lives in Lisbon \u2028 \"quoted\" \\ \ufffd",
        kind="fact", scope="user/1", speaker="Ana", said_at="2026-05-03T10:00:00.000001Z", valid_from="2020-01-01",
        source="s", tags=["x", "y,z"], metadata={"deep": {"list": [1, None, True, 1.5]}, "ü": "ß"}, strength=0.25,
    )  # fmt: skip
    store.read("Lisbon", scope="user/1", reinforce=True)
    store.revise(a.id, "Ana lives in Porto", valid_from="2025-01-01")
    store.revise(a.id, "Ana lives in Braga", correction=True)
    b = store.write("made from it", parent=a.id, valid_to="2999-01-01")
    store.link(a.id, b.id, "supports", 0.5)
    store.link(b.id, a.id, "made from")
    store.write_many(f"text {n}" for n in range(30))
    return a, b


def contents(store):
    """Everything a store says, without its rows."""
    versions = [told.record().as_dict() for told in store.database.export_rows()]
    links = {(link.source, link.target, link.relation, link.weight) for link in store.links()}
    return versions, links


@pytest.fixture
def empty_address(request, tmp_path):
    """An address in the other database than the store's."""
    if request.node.callspec.params["new_address"] == "postgres":
        return str(tmp_path / "other.db")
    return request.getfixturevalue("postgres_address")()


def test_a_whole_store_moves_to_the_other_database(store, empty_address, tmp_path, word_encoder):
    a, _ = fill(store)
    written = store.export(tmp_path / "all.jsonl")
    assert written == store.statistics()["versions"] == 34
    with stores.open(empty_address, encoder=word_encoder(), background=False) as other:
        assert other.import_(tmp_path / "all.jsonl") == written
        assert contents(other) == contents(store)
        assert [r.as_dict() for r in other.history(a.id)] == [r.as_dict() for r in store.history(a.id)]
        for asked in ({"as_of": "2022-01-01"}, {"as_of": "2022-01-01", "known_at": a.recorded_at}, {}):
            expected = [(hit.id, hit.text) for hit in store.read("Where does Ana live?", scope="user/1", **asked)]
            assert [
                (hit.id, hit.text) for hit in other.read("Where does Ana live?", scope="user/1", **asked)
            ] == expected
        assert other.check() == []
        again = tmp_path / "again.jsonl"
        other.export(again)
        assert sorted(again.read_text().splitlines()) == sorted((tmp_path / "all.jsonl").read_text().splitlines())


def test_links_keep_when_they_were_made(store, tmp_path, new_address, word_encoder):
    fill(store)
    store.export(tmp_path / "all.jsonl")
    with stores.open(new_address(), encoder=word_encoder(), background=False) as other:
        other.import_(tmp_path / "all.jsonl")
        assert {link.made_at for link in other.links()} == {link.made_at for link in store.links()}


def test_importing_twice_is_refused_and_changes_nothing(store, tmp_path):
    fill(store)
    store.export(tmp_path / "all.jsonl")
    before = contents(store)
    with pytest.raises(UsageError, match="is taken"):
        store.import_(tmp_path / "all.jsonl")
    assert contents(store) == before


def test_a_record_whose_first_version_is_missing_is_not_mixed_into_another(store, tmp_path):
    record = store.write("one")
    store.revise(record.id, "two")
    store.export(tmp_path / "all.jsonl")
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    for part in (lines[2], lines[2].replace('"version": 2', '"version": 3')):
        (tmp_path / "part.jsonl").write_text("\n".join([lines[0], part]) + "\n")
        with pytest.raises(UsageError, match="is taken"):
            store.import_(tmp_path / "part.jsonl")
    assert [one.text for one in store.history(record.id)] == ["one", "two"]


def test_progress_is_told(store, tmp_path):
    store.write_many(f"text {n}" for n in range(2500))
    seen = []
    store.export(tmp_path / "all.jsonl", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2000, 2500), (2500, 2500)]


FIRST = '{"format": "remanence-store/1"}'
RECORD = {"id": "0" * 32, "text": "x", "recorded_at": "2026-01-01T00:00:00+00:00"}
BAD = [
    ("", "was not written by export|is empty"),
    ("hello\n", "line 1 .* is no JSON object"),
    ('{"format": "other"}\n', "was not written by export"),
    (f"{FIRST}\n[1]\n", "line 2 .* is no JSON object"),
    (f'{FIRST}\n{{"record": {{}}}}\n', "line 2 .* is no version"),
    (f"{FIRST}\n" + json.dumps({"record": RECORD | {"colour": "red"}}) + "\n", "line 2 .* is no version"),
    (f"{FIRST}\n" + json.dumps({"record": RECORD | {"recorded_at": "soon"}}) + "\n", "no ISO 8601 time"),
    (f"{FIRST}\n" + json.dumps({"record": RECORD | {"version": 0}}) + "\n", "expected a whole number"),
    (f"{FIRST}\n" + json.dumps({"record": RECORD | {"version": True}}) + "\n", "expected a whole number"),
    (f"{FIRST}\n" + json.dumps({"record": RECORD | {"uses": 10**30}}) + "\n", "expected a whole number"),
    (f"{FIRST}\n" + json.dumps({"record": RECORD | {"id": "zz"}}) + "\n", "is no id"),
    (f"{FIRST}\n" + json.dumps({"record": RECORD | {"tags": "home"}}) + "\n", "tags"),
    (f'{FIRST}\n{{"link": {{"source": 1}}}}\n', "line 2 .* is no link"),
    (
        f"{FIRST}\n"
        + json.dumps({"link": {"source": "0" * 32, "target": "1" * 32, "relation": "x", "weight": 1}})
        + "\n",
        "no record .* to link",
    ),
    (f"{FIRST}\n" + json.dumps({"record": RECORD}) + '\n{"rec', "line 3 .* is no JSON object"),
    (f"{FIRST}\n" + json.dumps({"thing": RECORD}) + "\n", "neither a record nor a link"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_file_that_is_no_intact_export_is_refused_and_nothing_is_imported(store, tmp_path, text, message):
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(UsageError, match=message) as refused:
        store.import_(tmp_path / "bad.jsonl")
    assert "\n" not in str(refused.value)
    assert store.statistics()["versions"] == 0 and list(store.scopes()) == []


def test_a_file_that_is_not_there_is_refused(store, tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        store.import_(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="could not be written"):
        (tmp_path / "file").write_text("x")
        store.export(tmp_path / "file" / "below.jsonl")
