"""What the pages show of Python is what Python says."""

import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["streams.md", "contract.md", "memory.md", "metrics.md", "recall.md", "context.md"])
def test_a_page_shows_what_its_examples_print(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```pycon\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for example in (found for block in blocks for found in doctest.DocTestParser().get_examples(block)):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            try:
                exec(compile(example.source, page, "single"), names)  # noqa: S102
            except Exception as error:  # pages show the last line of a refusal only
                print(f"{type(error).__name__}: {error}")
        assert printed.getvalue() == example.want, example.source
