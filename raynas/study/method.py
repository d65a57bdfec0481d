"""A method: settings, a name in the entry-point group `raynas.methods`, and `run`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import CHOSEN, check_chosen
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
        own_training: the keys of `training` that the method does not read, each with the keys to set instead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    paper: ClassVar[str]
    spaces: ClassVar[str]
    own_training: ClassVar[Mapping[str, str]] = {}

    def training_to_choose(self) -> Collection[str]:
        """Return the keys of `training` that a recipe has to choose."""
        return set(CHOSEN) - self.own_training.keys()

    def check(self, plan: Plan) -> None:
        """Check, before anything is trained, that the method can do what the recipe asks.

        Raises:
            UserError: if it cannot.
        """

    @abstractmethod
    def run(self, study: Study) -> Outcome:
        """Carry out the method as a sequence of the study's durable steps."""


def _check_training(method: Method, recipe: Recipe) -> None:
    """Check that the recipe chooses the settings of training that the method reads, and sets none that it does not.

    Raises:
        UserError: if a key without effect has another value than its default, or if the recipe leaves a key open.
    """
    for key, instead in method.own_training.items():
        if getattr(recipe.training, key) != type(recipe.training).model_fields[key].default:
            raise UserError(f"training.{key} has no effect on {recipe.method['name']}: set {instead} instead.")
    check_chosen(recipe.training, "training", method.training_to_choose())


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
        UserError: if there is no such method, if it has no such setting, or if the recipe lacks settings of training.
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
    method: Method = validate(chosen, settings, f"the method {name}")
    _check_training(method, recipe)
    return method
