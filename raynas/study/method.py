"""A method: settings, a name in the entry-point group `raynas.methods`, and `run`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from raynas.recipe.recipe import Recipe
from search_spaces.errors import UserError, nearest
from search_spaces.validation import validate

if TYPE_CHECKING:
    from raynas.results.outcome import Outcome
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study

_GROUP = "raynas.methods"


class Method(BaseModel, ABC):
    """A way to search. Its fields are the settings under the recipe's key `method`.

    A field `search` holds the settings under the recipe's key `search`.

    Attributes:
        paper: the paper of the method.
        spaces: the search spaces that the method works on, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    paper: ClassVar[str]
    spaces: ClassVar[str]

    def check(self, plan: Plan) -> None:
        """Check, before anything is trained, that the method can do what the recipe asks.

        Raises:
            UserError: if it cannot.
        """

    @abstractmethod
    def run(self, study: Study) -> Outcome:
        """Carry out the method as a sequence of the study's durable steps."""


def check_training_key_unset(recipe: Recipe, key: str, instead: str) -> None:
    """Raises UserError if the recipe sets a key of `training` for which the method has keys of its own."""
    if getattr(recipe.training, key) != type(recipe.training).model_fields[key].default:
        raise UserError(f"training.{key} has no effect on {recipe.method['name']}: set {instead} instead.")


def method_names() -> list[str]:
    """Return the names of all installed methods, in alphabetical order."""
    return sorted(entry_points(group=_GROUP).names)


def method_class(name: str) -> type[Method]:
    """Return the class of a method.

    Raises:
        UserError: if no installed package has a method of this name.
    """
    found = entry_points(group=_GROUP, name=name)
    if not found:
        raise UserError(f"No method is called {name!r}; {nearest(name, method_names())}")
    loaded: type[Method] = next(iter(found)).load()
    return loaded


def method_of_recipe(recipe: Recipe) -> Method:
    """Return the recipe's method with the recipe's settings.

    Raises:
        UserError: if there is no such method, or it has no such setting.
    """
    name = recipe.method["name"]
    chosen = method_class(name)
    settings: dict[str, Any] = {key: value for key, value in recipe.method.items() if key != "name"}
    if "search" in settings:
        raise UserError("method.search is not a key: put the settings of the search under the recipe's own key search.")
    if recipe.search:
        if "search" not in chosen.model_fields:
            raise UserError(f"The method {name} has no search with settings: leave the key search out.")
        settings["search"] = recipe.search
    return validate(chosen, settings, f"the method {name}")
