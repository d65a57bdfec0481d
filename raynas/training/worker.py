"""A training worker: a process of Ray Train that carries out one training after the other."""

from __future__ import annotations

import gc
from typing import Any

from ray import train

from raynas.runtime.process import is_out_of_memory, prepare_process
from raynas.storage import lock
from raynas.storage.job_queue import JobQueue
from raynas.storage.run_folder import RunFolder
from raynas.training.divergence import Divergence
from raynas.training.job import FAILURE_FILE, WORKERS_FILE, TrainingJob
from raynas.training.trainer import TooManyWorkers, Trainer


def serve_trainings(config: dict[str, Any]) -> None:
    """Carry out the trainings of a queue until it is closed. After a restart, the unfinished training goes on.

    Every worker carries out every training, and the first worker writes that it is finished.

    Args:
        config: the `run` folder, the number of its `attempt`, and the folder of the `queue` in it.
    """
    run = RunFolder(config["run"])
    lock.note_process(run, config["attempt"])
    queue = JobQueue(run / config["queue"])
    number = queue.first_unfinished()
    while (job := queue.wait(number)) is not None:
        train_network(TrainingJob.model_validate(job))
        gc.collect()
        if train.get_context().get_world_rank() == 0:
            queue.finish(number)
        number += 1


def train_network(job: TrainingJob) -> None:
    """Train from the newest checkpoint to the end of the job. The first worker writes the results."""
    prepare_process(job.threads, job.deterministic)
    folder = RunFolder(job.run) / job.folder
    if folder.exists(FAILURE_FILE):  # an earlier worker wrote why a restart does not help
        return
    trainer = Trainer(job)
    try:
        for row in trainer.epochs():
            train.report({**row, "step": job.name, **trainer.learner.notes()})
            if trainer.should_stop(row["epoch"]):
                break
    except Divergence as fault:
        if trainer.is_first:
            folder.write_json(FAILURE_FILE, {"kind": "divergence", "message": str(fault)})
    except TooManyWorkers as end:
        if trainer.is_first:
            folder.write_json(WORKERS_FILE, {"workers": end.enough})
    except Exception as fault:
        if is_out_of_memory(fault):
            folder.write_json(FAILURE_FILE, {"kind": "memory", "message": trainer.out_of_memory_message()})
        raise
    else:
        trainer.write_results()
