"""The searched network of another run, for HM-NAS's `searched_run`."""

from __future__ import annotations

from raynas.results.outcome import load
from raynas.storage.difference import difference
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.storage.weights import Weights
from search_spaces.cell.genotype import FILE, Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError


def read_searched_network(run: str, space: CellSpace) -> tuple[Genotype, Weights]:
    """Read the searched network of a run, and its weights.

    Args:
        run: the run folder.
        space: the space of the present run.

    Raises:
        UserError: if the run has no searched network, or its space differs in more than classes and resolution.
    """
    folder = RunFolder(run)
    step = next((record for record in records(folder) if record["name"] == "searched"), None)
    if step is None or step["state"] != "finished" or not folder.exists(FILE):
        raise UserError(
            f"{run} holds no network that hm-nas has searched: set method.searched_run to the folder of a run that has "
            "finished its step searched."
        )
    genotype = Genotype.parse(space, folder.read(FILE).decode())
    for field, theirs, ours in difference(load(run).space["settings"], space.settings):
        if field not in ("num_classes", "resolution"):
            raise UserError(
                f"{run} was searched with space.{field}={theirs!r}, but this recipe has {ours!r}: set "
                f"space.{field}={theirs!r}."
            )
    return genotype, Weights(step["result"]["file"], "searched", [])
