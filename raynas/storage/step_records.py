"""What a run folder keeps of its steps: their records, their training histories, the files of the evaluation table."""

from __future__ import annotations

from typing import Any, Literal

from raynas.storage.run_folder import RunFolder
from search_spaces.errors import UserError

StepKind = Literal[
    "training", "search", "evaluation", "sweep", "derived-weights", "standalone-training", "standalone-test"
]
_FILE, _PREVIOUS_FILE = "study.json", "study-before.json"
_TABLES = "evaluations"
_HISTORY = "history.json"


def records(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the records of a run's steps, in order. They are written twice; the newest readable file counts.

    Raises:
        DamagedFile: if neither file can be read.
    """
    for file in (_FILE, _PREVIOUS_FILE):
        if folder.is_whole(file):
            return list(folder.read_json(file)["steps"])
    if folder.exists(_FILE):
        folder.read_json(_FILE)
    return []


def write_records(folder: RunFolder, steps: list[dict[str, Any]]) -> None:
    """Write the records, the backup first: a crash between the two writes leaves one whole file."""
    for file in (_PREVIOUS_FILE, _FILE):
        folder.write_json(file, {"steps": steps})


def step_names(folder: RunFolder) -> list[str]:
    """Return the names of a run's steps, in order."""
    return [record["name"] for record in records(folder)]


def check_is_run(folder: RunFolder) -> None:
    """Raises UserError if a folder is not the folder of a run."""
    if not folder.exists("recipe.yaml"):
        raise UserError(f"{folder.uri} is not the folder of a run: it has no recipe.yaml.")


def table_files(folder: RunFolder, step: str) -> list[str]:
    """Return the files that hold a step's rows of the evaluation table, in order."""
    return [f"{_TABLES}/{name}" for name in folder.names(_TABLES) if name.startswith(f"{step}.trial-")]


def table_file(step: str, trial: int, iteration: int) -> str:
    """Return the file that holds one iteration's rows of the evaluation table."""
    return f"{_TABLES}/{step}.trial-{trial:03d}.iteration-{iteration:05d}.parquet"


def write_history(step_folder: RunFolder, epochs: list[dict[str, Any]]) -> None:
    """Write a training's metrics, one row an epoch, into its step's folder."""
    step_folder.write_json(_HISTORY, {"epochs": epochs})


def read_history(step_folder: RunFolder) -> list[dict[str, Any]]:
    """Return a training's metrics, one row an epoch; raises as `RunFolder.read_json`."""
    epochs: list[dict[str, Any]] = step_folder.read_json(_HISTORY)["epochs"]
    return epochs


def training_histories(folder: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """Return the metrics of every finished training of a run, by the step's name, in the order of the steps."""
    steps = [name for name in folder.names("steps") if folder.exists(f"steps/{name}/{_HISTORY}")]
    return {name.partition("-")[2]: read_history(folder / "steps" / name) for name in steps}
