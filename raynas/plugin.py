"""The one import for authors of plug-ins: everything that a method, an objective or a searcher is written with.

    from raynas.plugin import Method, Outcome, Study, UniformPath

Spaces need `search_spaces` alone.
"""

from __future__ import annotations

from raynas.evaluation.request import EvaluationRequest, LoadedOracle, Oracle
from raynas.interfaces.objective import (
    ARCHITECTURE,
    WEIGHTS,
    Gradients,
    Learner,
    MicroBatch,
    Objective,
    TrainingStep,
    UniformPath,
    Update,
    add_gradients,
)
from raynas.interfaces.searcher import Evaluation, Search, Searcher
from raynas.interfaces.streams import STREAMS
from raynas.results.evaluation_table import EvaluationTable, SearchResult
from raynas.results.fit_result import StandaloneResult
from raynas.results.outcome import Outcome
from raynas.results.pareto import non_domination_ranks, pareto_front
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Weights
from raynas.study.method import Method
from raynas.study.run_plan import Plan
from raynas.study.study import Study
from raynas.study.sweep import sweep
from raynas.study.trainable import SweepTrial, Trainable
from raynas.training.early_stop import EarlyStop
from search_spaces.errors import UserError

__all__ = [
    "ARCHITECTURE",
    "STREAMS",
    "WEIGHTS",
    "EarlyStop",
    "Evaluation",
    "EvaluationRequest",
    "EvaluationTable",
    "Gradients",
    "Learner",
    "LoadedOracle",
    "Method",
    "MicroBatch",
    "Objective",
    "Oracle",
    "Outcome",
    "Plan",
    "RunFolder",
    "Search",
    "SearchResult",
    "Searcher",
    "StandaloneResult",
    "Study",
    "SweepTrial",
    "Trainable",
    "TrainingStep",
    "UniformPath",
    "Update",
    "UserError",
    "Weights",
    "add_gradients",
    "non_domination_ranks",
    "pareto_front",
    "sweep",
]
