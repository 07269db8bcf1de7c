"""Small language models of the library's own, and any other by folder or name, each with its tokenizer.

The library's own are Llamas (grouped-query attention, rotary positions) that read bytes; `remanence prepare` trains
them on this machine, so that memories can be tried where no hub can be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from torch import Tensor

from remanence.errors import MissingExtra, UsageError, nearest
from remanence.models.byte_tokenizer import BEGIN, END, FILE, PAD, VOCABULARY, ByteTokenizer
from remanence.models.mimetic import begin
from remanence.models.recipe import Recipe
from remanence.randomness import derive, global_generator


@dataclass(frozen=True, kw_only=True)
class LlamaRecipe(Recipe):
    """All that a small Llama follows from.

    Parameters
    ----------
    layers, width, heads, groups, intermediate:
        Of the Llama: blocks, features, query heads, key-value heads, and hidden width of the feed-forward layers.
    positions, base:
        The longest text that it is trained on, and the base of its rotary positions.

    The others are those of `Recipe`.
    """

    kind = "llama"

    layers: int
    width: int
    heads: int
    groups: int
    intermediate: int
    positions: int
    base: float = 1e6

    def build(self) -> Any:
        with global_generator(derive(self.seed, "weights")):
            model = transformers().LlamaForCausalLM(self.config())
        begin(model, self.seed)
        return model

    def scores(self, model: Any, tokens: Tensor) -> Tensor:
        found: Tensor = model(tokens, use_cache=False).logits
        return found

    def kept(self, model: Any) -> tuple[dict[str, Tensor], str]:
        plain = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}
        return plain, model.config.to_json_string()

    def load(self) -> Any:
        transformers()
        self.check_ready()
        with _quiet():
            return _from_folder(self.folder).model

    @property
    def longest(self) -> int:
        return self.positions

    def config(self) -> Any:
        """Its ``LlamaConfig``."""
        return transformers().LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=self.width,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.groups,
            head_dim=self.width // self.heads,
            max_position_embeddings=self.positions,
            rope_theta=self.base,
            tie_word_embeddings=True,
            pad_token_id=PAD,
            bos_token_id=BEGIN,
            eos_token_id=END,
        )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        LlamaRecipe(
            name="tiny-lm",
            layers=4,
            width=128,
            heads=4,
            groups=2,
            intermediate=352,
            positions=512,
            stages=((128, 200), (256, 500), (512, 900)),
            tokens=1024,
        ),
        LlamaRecipe(
            name="micro-lm",
            layers=2,
            width=32,
            heads=2,
            groups=1,
            intermediate=88,
            positions=128,
            stages=((64, 20), (128, 20)),
            tokens=512,
            mix={"pairs": 0.6, "copy": 0.4},
            warm_up=5,
        ),
    )
}


def recipe(name: str) -> LlamaRecipe:
    """One of the library's own models as a recipe."""
    if name not in RECIPES:
        raise UsageError(f"there is no model {name!r} to prepare: {nearest(name, RECIPES)}")
    return RECIPES[name]


class LanguageModel(NamedTuple):
    """A causal language model of transformers, in evaluation mode, and its tokenizer."""

    model: Any
    tokenizer: Any


def transformers() -> Any:
    """The library of that name, which the extra ``lm`` brings."""
    try:
        import transformers as found
    except ImportError:
        raise MissingExtra("transformers", "lm", "a language model") from None
    return found


def tiny_lm(name: str = "tiny-lm") -> LanguageModel:
    """One of the library's own language models, as `remanence prepare` trained it on this machine.

    Parameters
    ----------
    name:
        ``tiny-lm`` (0.8 million parameters) or ``micro-lm`` (thirty thousand, which knows little).

    Raises
    ------
    StateError
        If it has not been prepared.
    MissingExtra
        If transformers is not installed.

    Example
    -------
    >>> model, tokenizer = tiny_lm()  # doctest: +SKIP
    >>> fact = "Note: the key of lijed=37km.\\nAnd so to bed.\\nQuestion: the key of lijed="
    >>> read = tokenizer(fact, return_tensors="pt")  # doctest: +SKIP
    >>> tokenizer.decode(model.generate(**read, max_new_tokens=4)[0, -4:])  # doctest: +SKIP
    '37km'
    """
    return LanguageModel(recipe(name).load(), ByteTokenizer())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bar that transformers draws while it loads, which for a model this small is noise."""
    logging = transformers().utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def language_model(name: str | Path) -> LanguageModel:
    """A language model and its tokenizer, by name or folder.

    Parameters
    ----------
    name:
        ``tiny-lm``, ``micro-lm``, a folder that ``save_pretrained`` wrote, or a name on the Hugging Face hub.

    Raises
    ------
    UsageError
        If there is no such folder or name, or it cannot be read.
    """
    if str(name) in RECIPES:
        return tiny_lm(str(name))
    return _from_folder(name)


def _from_folder(name: str | Path) -> LanguageModel:
    found = transformers()
    bars = found.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        # Only safetensors: what other files hold can run code when it is read.
        model = found.AutoModelForCausalLM.from_pretrained(name, use_safetensors=True)
        plain = (Path(name) / FILE).exists()
        tokenizer = ByteTokenizer() if plain else found.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, SafetensorError) as error:
        first = str(error).strip().split("\n")[0]
        raise UsageError(
            f"{str(name)!r} could not be read as a causal language model ({first}): give one of {', '.join(RECIPES)}, "
            "a folder that save_pretrained wrote, or a name on the hub that can be reached from here"
        ) from None
    finally:
        if shown:
            bars.enable_progress_bar()
    return LanguageModel(model.eval(), tokenizer)
