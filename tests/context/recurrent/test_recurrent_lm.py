"""Language models around memory layers: read in pieces as at once, begun so that likes are found, trained, kept."""

import json

import pytest
import torch
from typer.testing import CliRunner

from remanence.cli import app
from remanence.context import tree
from remanence.context.layers.linear_attention import LinearAttention
from remanence.context.layers.mixture_of_memories import MixtureOfMemories
from remanence.context.layers.neural_memory import NeuralMemory
from remanence.context.recurrent import RecurrentLM, names, recipe, recurrent_lm
from remanence.context.recurrent.mimetic import begin
from remanence.errors import StateError, UsageError
from remanence.models.prepare import keep, prepare
from remanence.models.reading_matter import ANSWER, rows

ALL = [name for name in names() if name.startswith("micro-")]


@pytest.mark.parametrize("name", ALL)
def test_in_pieces_as_at_once(name):
    model = recipe(name).build().eval().requires_grad_(False)
    tokens = torch.randint(256, (2, 19), generator=torch.Generator().manual_seed(0))
    scores, state = model(tokens)
    first, middle = model(tokens[:, :7])
    second, after = model(tokens[:, 7:], middle)
    assert torch.allclose(torch.cat([first, second], 1), scores, atol=1e-4)
    assert [key for key, _ in tree.leaves(after)] == [key for key, _ in tree.leaves(state)]
    for (_, one), (_, other) in zip(tree.leaves(after), tree.leaves(state), strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-4)


def test_a_code_is_of_three_bytes_and_comes_before_and_with_a_byte():
    model = RecurrentLM(LinearAttention(24), letters=8, codes=8)
    text = torch.tensor([list(b"abcdabce")])
    codes = model._codes(text)  # of abc, bcd, cda, dab, abc, bce
    assert torch.equal(codes[:, 0], codes[:, 4])
    assert not torch.equal(codes[:, 0], codes[:, 1])
    seen = []
    model.layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.body.norms[0] = torch.nn.Identity()
    model(text)
    (x,) = seen
    assert torch.equal(x[:, 3, 8:16], x[:, 2, 16:])  # before "d" stands what came with "c"
    assert torch.equal(x[:, 2, 16:], codes[:, 0])
    assert torch.equal(x[:, 7, 8:16], x[:, 3, 8:16])  # before "e" stands the same "abc"


@pytest.mark.parametrize(
    "layer",
    [
        LinearAttention(48, heads=2),
        MixtureOfMemories(48, key_dim=24, value_dim=16, convolution=0),
        NeuralMemory(48, convolution=0),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_from_the_start_what_is_asked_with_a_code_is_compared_with_what_stands_under_it(layer):
    letters, codes = 16, 16
    assert begin(layer, letters, codes, seed=0) == 1
    code = torch.randn(codes)
    asked = torch.cat([torch.zeros(letters + codes), code])
    stored = torch.cat([torch.randn(letters), code, torch.zeros(codes)])
    times = layer.keys.out_features // layer.queries.out_features
    assert torch.allclose(layer.keys(stored), layer.queries(asked).repeat(times), atol=1e-6)


def test_a_layer_without_queries_begins_as_it_is():
    assert begin(recipe("micro-lssl").build().layer, 8, 8, seed=0) == 0


def test_notes_are_asked_for_once_they_are_known():
    given = rows(0, 0, 3, 96, {"notes": 1.0})
    for tokens, weights in zip(given.tokens.tolist(), given.weights.tolist(), strict=True):
        text, counts = bytes(token % 256 for token in tokens).decode("latin1"), [0.0, *weights]
        known = {}
        begun = tokens[0] > 255
        at = int(begun)
        for line in text[at:].split("\n")[:-1]:
            name, value = line.split("=")
            first = at + len(name) + 1
            assert counts[first + 1] == pytest.approx(ANSWER if name in known else 0.1)
            assert known.setdefault(name, value) == value
            at += len(line) + 1


def test_trained_it_is_read_back_and_says_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path))
    with pytest.raises(StateError, match="run `remanence prepare micro-based`"):
        recurrent_lm("micro-based", "based")
    losses = [progress.loss for progress in prepare(recipe("micro-based"))]
    assert len(losses) == recipe("micro-based").updates
    model = recurrent_lm("micro-based", "based")
    assert not model.training
    again = recurrent_lm(str(recipe("micro-based").folder), "based")
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))
    assert not torch.equal(model.letters.weight, recipe("micro-based").build().letters.weight)
    with pytest.raises(UsageError, match="is a language model around based, and lssl was asked for"):
        recurrent_lm("micro-based", "lssl")


def test_other_hyperparameters_lie_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path))
    wanted = recipe("micro-based", window=4)
    assert wanted.folder != recipe("micro-based").folder
    wanted.folder.mkdir(parents=True)
    keep(wanted, wanted.build())
    assert json.loads((wanted.folder / "config.json").read_text())["settings"] == {"window": 4}
    assert recurrent_lm(str(wanted.folder), "based").layer.near.window == 4
    with pytest.raises(UsageError, match="window"):
        recipe("micro-based", window=1)


@pytest.mark.parametrize("name", ["tiny-basd", "huge-based", "tiny"])
def test_no_such_model(name):
    with pytest.raises(UsageError, match=f"there is no model {name!r} to prepare"):
        recipe(name)


def test_a_folder_with_something_else_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no language model around a memory layer"):
        recurrent_lm(str(tmp_path), "based")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UsageError, match="holds no language model around a memory layer"):
        recurrent_lm(str(tmp_path), "based")
    (tmp_path / "config.json").write_text('{"kind": "remanence recurrent", "layer": "based"}')
    with pytest.raises(UsageError, match="holds no language model around a memory layer"):
        recurrent_lm(str(tmp_path), "based")


def test_the_command_prepares_one(tmp_path, monkeypatch):
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path))
    done = CliRunner().invoke(app, ["prepare", "micro-lssl"])
    assert done.exit_code == 0, done.output
    assert str(recipe("micro-lssl").folder) in done.output
