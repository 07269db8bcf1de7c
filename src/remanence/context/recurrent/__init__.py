"""Language models whose memory is one layer, trained on this machine, and the learner that reads with them."""

from remanence.context.recurrent.model import RecurrentLM
from remanence.context.recurrent.recipe import RecurrentRecipe, any_recipe, names, recipe, recurrent_lm

__all__ = ["RecurrentLM", "RecurrentRecipe", "any_recipe", "names", "recipe", "recurrent_lm"]
