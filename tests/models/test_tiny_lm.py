"""The library's own language models: trained by recipe, to the bit whatever happens on the way, and read back safely."""

import builtins
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from remanence.cli import app
from remanence.errors import MissingExtra, StateError, UsageError
from remanence.models import language_model, tiny_lm
from remanence.models.byte_tokenizer import ByteTokenizer
from remanence.models.examine import by_distance, perplexity, recall
from remanence.models.prepare import Training, prepare
from remanence.models.reading_matter import GUESS, rows
from remanence.models.tiny_lm import RECIPES, recipe

pytest.importorskip("transformers")

LINES = "The wind blows.\nAnd the rain falls on all of us, every day.\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache in which micro-lm was prepared without a break."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMANENCE_CACHE", str(folder))
        losses = [progress.loss for progress in prepare(recipe("micro-lm"))]
    assert len(losses) == recipe("micro-lm").updates
    assert sum(losses[-5:]) < sum(losses[:5])
    return folder


@pytest.fixture
def prepared(cache, monkeypatch):
    monkeypatch.setenv("REMANENCE_CACHE", str(cache))
    return recipe("micro-lm").folder


def test_it_is_a_llama_with_grouped_queries_and_reads_bytes(prepared):
    model, tokenizer = tiny_lm("micro-lm")
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    assert not model.training
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    read = tokenizer(["To be", "or not to be"], padding=True, return_tensors="pt")
    assert model.generate(**read, max_new_tokens=3, do_sample=False).shape == (2, 16)
    assert sorted(path.name for path in prepared.iterdir() if not path.name.startswith(".")) == [
        "byte_tokenizer.json",
        "config.json",
        "model.safetensors",
        "recipe.json",
    ]


def test_the_sizes_are_as_documented():
    for name, low, high in (("tiny-lm", 700_000, 900_000), ("micro-lm", 20_000, 40_000)):
        assert low < sum(value.numel() for value in Training(recipe(name)).model.parameters()) < high


def test_a_training_that_was_killed_ends_with_the_same_bits(prepared, tmp_path, monkeypatch):
    script = (
        "import torch; torch.set_num_threads(1)\n"
        "from remanence.models.prepare import prepare\n"
        "from remanence.models.tiny_lm import recipe\n"
        "for progress in prepare(recipe('micro-lm'), checkpoint_every=0.0): print(progress.update, flush=True)\n"
    )
    environment = {**os.environ, "REMANENCE_CACHE": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if int(line) == 7:
                os.kill(child.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
                break
    assert child.returncode != 0
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path))
    with pytest.raises(StateError, match="run `remanence prepare micro-lm`"):
        tiny_lm("micro-lm")
    went_on = [progress.update for progress in prepare(recipe("micro-lm"))]
    assert 7 <= went_on[0] <= 9
    assert went_on[-1] == recipe("micro-lm").updates
    one, other = (folder / "model.safetensors" for folder in (prepared, recipe("micro-lm").folder))
    assert one.read_bytes() == other.read_bytes()
    assert not list(tmp_path.rglob("training.safetensors"))


def test_what_is_there_is_not_trained_again_and_another_recipe_lies_elsewhere(prepared):
    assert list(prepare(recipe("micro-lm"))) == []
    assert replace(recipe("micro-lm"), seed=1).folder != prepared
    assert json.loads((prepared / "recipe.json").read_text())["name"] == "micro-lm"


def test_the_command_prepares_and_says_where(tmp_path):
    environment = {**os.environ, "REMANENCE_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "remanence.cli", "prepare", "micro-lm", "--threads", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    folder = done.stdout.strip()
    assert folder.startswith(str(tmp_path))
    with safe_open(f"{folder}/model.safetensors", framework="pt") as file:
        assert file.get_tensor("model.embed_tokens.weight").shape == (259, 32)
    assert re.search(r"micro-lm.*40/40", done.stderr)


def test_the_command_measures_what_it_prepared(prepared, data):
    done = CliRunner().invoke(app, ["prepare", "micro-lm", "--examine"])
    assert done.exit_code == 0
    assert 5 < float(re.search(r"held-out Shakespeare: ([\d.]+)", done.stdout)[1]) < 300
    for revisions in (0, 2):
        _, _, table = done.stdout.partition(f"recalled, {revisions} revisions")
        counts = re.findall(r"up to +(\d+) bytes ago: (?:.*% of (\d+)|none was asked)", table)[:8]
        assert [int(edge) for edge, _ in counts] == list(range(16, 129, 16))
        assert sum(int(count or 0) for _, count in counts) == 64


def test_a_wrong_name_is_refused(prepared):
    wrong = CliRunner().invoke(app, ["prepare", "tiny"])
    assert isinstance(wrong.exception, UsageError)
    assert "did you mean 'tiny-lm'" in str(wrong.exception)


def test_without_transformers_the_extra_is_named(prepared, monkeypatch):
    plain = builtins.__import__

    def without(name, *rest):
        if name == "transformers":
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=re.escape("remanence-memory[lm]")):
        tiny_lm("micro-lm")


def test_a_language_model_of_a_folder(tmp_path, prepared):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    GPT2LMHeadModel(GPT2Config(vocab_size=4, n_embd=8, n_layer=1, n_head=2, n_positions=16)).save_pretrained(tmp_path)
    words = Tokenizer(models.WordLevel({"to": 0, "be": 1, "or": 2, "?": 3}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    model, tokenizer = language_model(tmp_path)
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert tokenizer("to be or")["input_ids"] == [0, 1, 2]
    own, bytewise = language_model(prepared)
    assert isinstance(bytewise, ByteTokenizer)
    named = language_model("micro-lm").model
    assert all(torch.equal(one, other) for one, other in zip(own.parameters(), named.parameters(), strict=True))
    with pytest.raises(UsageError, match="could not be read as a causal language model"):
        language_model(tmp_path / "nothing")


def test_a_cut_file_is_refused(tmp_path, prepared):
    for path in prepared.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match="could not be read"):
        language_model(tmp_path)


def test_only_safetensors_are_read(tmp_path, prepared):
    for name in ("config.json", "byte_tokenizer.json"):
        (tmp_path / name).write_text((prepared / name).read_text())
    torch.save({"x": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match="could not be read"):
        language_model(tmp_path)


def test_the_first_layer_begins_by_looking_back_and_the_second_by_comparing():
    training = Training(RECIPES["tiny-lm"])
    model = training.model.eval()
    model.set_attn_implementation("eager")
    draw = torch.Generator().manual_seed(0)
    piece, between = (torch.randint(97, 123, (1, size), generator=draw) for size in (20, 200))
    with torch.no_grad():
        seen = model(torch.cat([piece, between, piece], 1), output_attentions=True).attentions
    for head in range(4):
        for place in (30, 100, 239):
            assert seen[0][0, head, place, place - head] > 0.9
    # At each byte of the copy but its first three, the share of attention on what followed the same in the original.
    shares = torch.stack([seen[1][0, :, 220 + k, k + 1] for k in range(3, 19)])
    assert shares.mean() > 0.2 > 20 / 239


@pytest.mark.parametrize("kind", ["pairs", "copy"])
@pytest.mark.parametrize("length", [64, 200])
def test_what_counts_fully_can_be_told_from_what_was_read(kind, length):
    given = rows(3, 5, 8, length, {kind: 1.0})
    assert given.tokens.shape == (8, length + 1)
    assert given.weights.shape == (8, length)
    for tokens, weights in zip(given.tokens.tolist(), given.weights, strict=True):
        text = bytes(token for token in tokens if token < 256).decode()
        first = len(tokens) - len(text)
        full = [k + 1 - first for k in range(length) if weights[k] > GUESS]
        if kind == "copy":
            period = full[0]
            assert full == list(range(period, len(text)))
            assert text[period:] == text[: len(text) - period]
        else:
            latest: dict[str, str] = {}
            place = 0
            for line in text.split("\n")[:-1]:
                head, value = re.fullmatch(r"(.*(?:=|: | is | -> | ))(\w+)", line).groups()
                counted = place + len(head) in full
                assert not counted or latest[head] == value
                latest[head] = value
                place += len(line) + 1


def test_planted_rows_count_answers_most(data):
    given = rows(0, 1, 8, 256, {"planted": 1.0})
    for tokens, weights in zip(given.tokens.tolist(), given.weights, strict=True):
        text = "".join(chr(token) if token < 256 else "^" for token in tokens)
        most = {k + 1 for k in range(256) if weights[k] > 1}
        answers = list(re.finditer(r"Question: the key of \w{5}=([a-z0-9]{4})", text))
        assert answers
        assert most == {place for m in answers for place in range(m.start(1), m.end(1))}


class Recalling:
    """A model that foresees exactly what it is told to read, or anything else."""

    def __init__(self, wrong_at: int | None = None) -> None:
        self.wrong_at = wrong_at

    def __call__(self, read):
        following = torch.cat([read[:, 1:], read[:, :1]], 1)
        scores = torch.nn.functional.one_hot(following, 259).float() * 1000.0
        if self.wrong_at is not None:
            scores[:, self.wrong_at] = 0.0
        return scores


def test_recall_and_perplexity_of_a_model_that_knows_all_and_of_one_that_knows_nothing():
    found = recall(Recalling(), 0, rows=3, length=300, facts=2, filler=LINES)
    assert len(found) == 6
    assert all(right for _, right in found)
    table = by_distance([(10, True), (20, False), (21, True), (300, True)], (10, 20, 40))
    assert table == [(10, 1.0, 1), (20, 0.0, 1), (40, 1.0, 1)]

    def nothing(read):
        return torch.zeros(*read.shape, 259)

    assert perplexity(nothing, LINES * 20, length=64) == pytest.approx(259)
    assert not any(right for _, right in recall(nothing, 0, rows=3, length=300, facts=2, filler=LINES))
