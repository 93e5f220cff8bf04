"""The recipe: one typed tree that says everything a run does. Torch-free."""

from maskwright.recipe.edit import apply_settings, flatten
from maskwright.recipe.file import dump_recipe, load_recipe, recipe_schema
from maskwright.recipe.recipe import Recipe

__all__ = ["Recipe", "apply_settings", "dump_recipe", "flatten", "load_recipe", "recipe_schema"]
