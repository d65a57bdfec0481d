"""The options of `raynas auto`, which decide its recipe. They lie beside the recipe, and do not change afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raynas.recipe.recipe import Recipe
from raynas.storage.run_folder import DamagedFile, RunFolder
from search_spaces.errors import UserError


@dataclass(frozen=True)
class AutoOptions:
    """The options of one call.

    Attributes:
        images: the absolute path of the images.
        limits: the most that the network may cost, by resource.
        minutes: the approximate time.
        test: the share of each class to test on, if the folder has no test images.
    """

    images: str
    limits: Mapping[str, float]
    minutes: float
    test: float

    def write(self, run: str) -> None:
        file = _options_file(run)
        RunFolder(file.parent).write_json(file.name, asdict(self))

    def check_unchanged(self, run: str, recipe: Recipe, recipe_file: Path) -> None:
        """Check that the recipe beside a run was written for these options.

        Raises:
            UserError: if an option has changed. It names the options, with the earlier and the present values.
        """
        before = _read_options(run)
        if before is None:
            recipe_limits = {key: limit.max for key, limit in recipe.budget.root.items()}
            if recipe.data.path != Path(self.images) or recipe_limits != self.limits:
                raise UserError(
                    f"{recipe_file} is a recipe for other images or limits: remove it, or give another folder with "
                    "--out."
                )
            return
        old, new = before._command_line(), self._command_line()
        changes = [
            f"{name} {old.get(name, 'absent')}, not {new.get(name, 'absent')}"
            for name in dict.fromkeys([*old, *new])
            if old.get(name) != new.get(name)
        ]
        if changes:
            raise UserError(
                f"{run} began with {'; '.join(changes)}: repeat the earlier options to go on with it, or give another "
                "folder with --out."
            )

    def _command_line(self) -> dict[str, str]:
        """Return the values by the names that people write."""
        limits = {f"--max-{key.replace('_', '-')}": _format_number(limit) for key, limit in self.limits.items()}
        numbers = {"--minutes": _format_number(self.minutes), "--test": _format_number(self.test)}
        return {"the images": self.images, **limits, **numbers}


def _options_file(run: str) -> Path:
    return Path(f"{run}.options.json")


def _read_options(run: str) -> AutoOptions | None:
    """Return the options of an earlier call; None if there are none, or if the file is damaged."""
    file = _options_file(run)
    try:
        values: dict[str, Any] = RunFolder(file.parent).read_json(file.name)
        return AutoOptions(**values)
    except (FileNotFoundError, DamagedFile, TypeError):
        return None


def _format_number(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else repr(number)
