"""The store from the command line, as a new user meets it."""

import json
import subprocess
import sys

import pytest


def remanence(*words, given=None):
    return subprocess.run(
        [sys.executable, "-m", "remanence", "store", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        input=given,
    )


def good(*words, given=None):
    done = remanence(*words, given=given)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A store with Ana's move, in which each test looks without changing it."""
    path = tmp_path_factory.mktemp("store") / "memory.db"
    written = good(
        "write", path, "I moved to Lisbon in May", "--speaker", "Ana", "--scope", "user/42", "--said-at", "2026-05-03T10:00Z",
        "--tag", "home", "--metadata", '{"city": "Lisbon"}', "--json", "--encoder", "none",
    )  # fmt: skip
    path.with_suffix(".json").write_text(written)
    good("write", path, "The [bold]museum[/] opens at ten", "--scope", "user/43", "--encoder", "none")
    return path


def test_write_then_read_then_history(file):
    record = json.loads(file.with_suffix(".json").read_text())
    assert record["speaker"] == "Ana"
    assert record["metadata"] == {"city": "Lisbon"}
    found = json.loads(good("read", file, "Lisbon?", "--scope", "user/42", "--mode", "text", "--explain", "--json"))
    assert found["hits"][0]["record"]["id"] == record["id"]
    assert found["hits"][0]["explain"]
    assert "Lisbon" in good("read", file, "Lisbon", "--scope", "*", "--mode", "text")
    assert "museum" in good("list", file)
    assert "[bold]" in good("list", file), "what a record says is text, not markup"
    assert "1" in good("history", file, record["id"])


def test_nothing_found_without_a_scope_says_that_there_are_scopes(file):
    assert "--scope '*'" in good("read", file, "Lisbon", "--mode", "text")
    assert "--scope '*'" not in good("read", file, "Lisbon", "--mode", "text", "--scope", "*")
    assert json.loads(good("read", file, "Lisbon", "--mode", "text", "--json"))["hits"] == []


def test_what_a_record_says_is_no_command_to_the_terminal(tmp_path):
    file = tmp_path / "memory.db"
    identity = good(
        "write", file, "a \x1b[31mred\x1b]0;title\x07 fox\r", "--speaker", "\x1b[1mAna", "--encoder", "none"
    ).strip()
    for words in (["list", file], ["read", file, "red fox", "--mode", "text"], ["history", file, identity]):
        told = good(*words)
        assert "fox" in told
        assert not {"\x1b", "\x07", "\r"} & set(told)


def test_conditions_and_scopes_hold(file):
    listed = json.loads(good("list", file, "--where", "metadata.city=Lisbon", "--json"))
    assert [one["speaker"] for one in listed] == ["Ana"]
    assert json.loads(good("list", file, "--where", "said_at>=2026-06", "--json")) == []
    assert json.loads(good("list", file, "--scope", "user", "--where", "tags has home", "--json"))


def test_a_whole_life(tmp_path):
    file, lines, out, other = (tmp_path / name for name in ("m.db", "lines.jsonl", "out.jsonl", "other.db"))
    lines.write_text('{"text": "a red fox", "source": "walk"}\nplain words of an owl\n\n', encoding="utf-8")
    assert "2 records" in good("write", file, "--lines", lines, "--encoder", "none")
    identity = good("write", file, "-", "--encoder", "none", given="from standard input").strip()
    assert "version 2" in good("revise", file, identity, "said otherwise", "--expected-version", "1")
    assert remanence("revise", file, identity, "late", "--expected-version", "1").returncode == 2
    assert len(json.loads(good("history", file, identity, "--json"))) == 2
    assert "4 versions" in good("export", file, out)
    assert "4 versions" in good("import", other, out, "--encoder", "none")
    assert json.loads(good("stats", other, "--json"))["records"] == 3
    assert "all is well" in good("doctor", other)
    assert "merged" in good(
        "consolidate", other, "--policy", "merge,decay", "--set", "half_life=10", "--encoder", "none"
    )
    receipt = json.loads(good("forget", other, identity, "--encoder", "none", "--json"))
    assert receipt["versions"] == 2
    assert set(receipt["places"].values()) == {"removed"}
    refused = remanence("forget", other, "--scope", "*", "--encoder", "none")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    good("forget", other, "--scope", "*", "--yes", "--encoder", "none")
    assert json.loads(good("stats", other, "--json"))["records"] == 0
    assert "durable write" in good("bench", file, "--encoder", "none", "--questions", "2")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["read", "nowhere.db", "what?"], "there is no store"),
        (["read", "{file}", "what?", "--mode", "magic"], "expected one of"),
        (["read", "{file}", "  ", "--mode", "text"], "the question is empty"),
        (["read", "{file}", "x", "--mode", "text", "--scope", "user/4"], "'user/42'"),
        (["list", "{file}", "--where", "speeker=Ana"], "did you mean 'speaker'"),
        (["list", "{file}", "--where", "speaker"], "cannot be read"),
        (["list", "{file}", "--as-of", "yesterday"], "no ISO 8601 time"),
        (["history", "{file}", "abc"], "is no id"),
        (["history", "{file}", "0" * 32], "there is no record"),
        (["write", "{file}", "x", "--metadata", "[1]"], "no JSON object"),
        (["write", "{file}"], "either a text or"),
        (["forget", "{file}"], "nothing was named to forget"),
        (["import", "{file}", "nothing.jsonl"], "there is no file"),
        (["consolidate", "{file}", "--policy", "marge", "--encoder", "none"], "did you mean 'merge'"),
        (["stats", "mysql://x/y"], "cannot lie at mysql"),
        (["stats", __file__], "is not a store"),
    ],
)
def test_mistakes_are_one_sentence(file, words, says):
    done = remanence(*(word.format(file=file) if "{file}" in word else word for word in words))
    assert done.returncode == 2, done.stdout
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
