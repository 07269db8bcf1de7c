"""Language models whose memory is one layer, trained on this machine, and the learner that reads with them."""

from remanence.context.layered.model import LayeredLM
from remanence.context.layered.recipe import LayeredRecipe, layered, names, prepared, recipe

__all__ = ["LayeredLM", "LayeredRecipe", "layered", "names", "prepared", "recipe"]
