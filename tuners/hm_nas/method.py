"""HM-NAS: efficient NAS via hierarchical masking (Yan et al.), algorithm 1.

A supernet of cells is trained with a weight for each operation and each edge. Masks then learn which operations, edges
and network weights are needed. At last the remaining weights are tuned. No network is trained from scratch, and no rule
fixes the number of operations on an edge or the number of inputs of a node.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from raynas.interfaces.streams import STREAMS
from raynas.results.outcome import Outcome
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Weights
from raynas.study.method import Method
from raynas.study.run_plan import check_fit
from search_spaces.cell.genotype import FILE, Genotype, check_edges_take_subsets
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError, format_count
from tuners.darts.checks import check_no_budget, check_second_order_uses_sgd, check_space_has_cells
from tuners.hm_nas.mask_schedule import MaskSchedule
from tuners.hm_nas.searched_run import read_searched_network
from tuners.hm_nas.settings import LEVELS, Level

if TYPE_CHECKING:
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from tuners.darts.weighted_mixture import Mixture, MixtureLearner
    from tuners.hm_nas.masks import Masking, MaskingLearner


class HmNas(Method):
    """Train a supernet, learn masks, and tune the searched network.

    The steps `supernet-test`, `searched-test` and `tuned-test` measure mixtures on the test images. The evaluation
    table's column `accuracy_of` names the mixture: the `supernet`, the `searched` network as the masks leave it, or the
    `tuned` network. `kept_params` counts the weights that no mask has set to 0. Multiply-adds are counted as if all
    weights of the remaining operations were there. The run folder's `genotype.txt` holds the searched cell.

    `training` holds the settings of the supernet's training, `fit` those of the tuning. The masks' training takes the
    batch size of `training`.

    Attributes:
        encoding: `multi` learns weights of operations and edges (equations 1 and 2), `single` of operations alone.
        order: 1 moves alpha and beta by the loss at the present weights. 2 moves them by the loss at the weights after
            their next training step, at three times the multiply-adds.
        warmup_epochs: the first epochs, in which only the weights move.
        stochastic_trigger: whether the probability that a training step moves alpha and beta falls from 1 to 0 over the
            epochs after the warm-up. If not, every training step moves them.
        architecture_learning_rate: Adam's learning rate for alpha and beta.
        derive_by: `masks` derives the network by masks. `strongest` derives it by the hand-designed rule: each node's
            two strongest inputs, each with its strongest operation (table 5).
        mask_epochs: the epochs of the masks' training; in the second half the learning rates are a tenth.
        levels: the levels whose masks learn.
        initial_mask: the first value of all masks.
        threshold: tau of equation 4; the paper finds 0 to 0.01 equally good (footnote 1).
        mask_rate: Adam's learning rate for the masks of operations and edges (section 4.2).
        weight_mask_rate: Adam's learning rate for the masks of weights.
        max_mask_change: for small recipes, in place of `mask_rate`: how far a mask of an operation or edge can move, as
            the sum of Adam's learning rates over all training steps of the masks. The rate follows from it. On
            CIFAR-10 the paper's rate gives 0.043 (20 epochs of 390 training steps).
        max_weight_mask_change: the like in place of `weight_mask_rate`; the paper's gives 0.43 on CIFAR-10.
        inherit: tune the searched network from the supernet's weights; otherwise from new weights (table 6).
        searched_run: the folder of another run. Its searched network is tuned on this run's images, and nothing is
            searched. Weights that do not fit, such as the classifier's for other classes, begin new and unmasked
            (table 4).
    """

    paper: ClassVar[str] = "Yan et al., HM-NAS: Efficient Neural Architecture Search via Hierarchical Masking"
    spaces: ClassVar[str] = "spaces of cells whose edges take any number of operations"

    encoding: Literal["multi", "single"] = "multi"
    order: Literal[1, 2] = 1
    warmup_epochs: int = Field(default=10, ge=0)
    stochastic_trigger: bool = True
    architecture_learning_rate: float = Field(default=3e-4, gt=0)
    derive_by: Literal["masks", "strongest"] = "masks"
    mask_epochs: int = Field(default=20, ge=1)
    levels: tuple[Level, ...] = Field(default=LEVELS, min_length=1)
    initial_mask: float = Field(default=1e-2, gt=0)
    threshold: float = Field(default=5e-3, ge=0)
    mask_rate: float = Field(default=1e-5, gt=0)
    weight_mask_rate: float = Field(default=1e-4, gt=0)
    max_mask_change: float | None = Field(default=None, gt=0)
    max_weight_mask_change: float | None = Field(default=None, gt=0)
    inherit: bool = True
    searched_run: str | None = None

    def training_to_choose(self) -> Collection[str]:
        return super().training_to_choose() if self.searched_run is None else ()

    def check(self, plan: Plan) -> None:
        name = plan.recipe.method["name"]
        check_no_budget(plan.recipe.budget, name)
        check_space_has_cells(plan.space, name)
        check_edges_take_subsets(_cells(plan.space))
        if plan.space.settings.get("partial", 1) != 1:
            raise UserError(f"The method {name} keeps the supernet's weights: leave space.partial out.")
        check_second_order_uses_sgd(plan, self.order)
        if self.threshold > self.initial_mask:
            node = plan.space.choices[0].group
            raise UserError(
                f"method.threshold is {self.threshold}, but all masks begin with method.initial_mask = "
                f"{self.initial_mask}: {node} and all other nodes would lose all inputs. Lower method.threshold."
            )
        if plan.recipe.fit.auxiliary_weight or plan.recipe.fit.drop_path:
            raise UserError("HM-NAS does not use fit.auxiliary_weight and fit.drop_path: leave both out.")
        check_fit(plan)
        if self.searched_run is not None:
            read_searched_network(self.searched_run, _cells(plan.space))
        elif self.warmup_epochs >= plan.recipe.training.epochs:
            raise UserError(
                f"method.warmup_epochs is {self.warmup_epochs}; it must be below training.epochs, which is "
                f"{plan.recipe.training.epochs}. Lower it."
            )
        elif self.derive_by == "masks":
            self._check_masks_can_remove(plan)

    def run(self, study: Study) -> Outcome:
        space = _cells(study.space)
        if self.searched_run is not None:
            genotype, searched = self.import_searched(study, space, self.searched_run)
        else:
            weights, mixture = self.train_supernet(study, space)
            derive = self.learn_masks if self.derive_by == "masks" else self.derive_strongest
            genotype, searched = derive(study, space, weights, mixture)
        tuned = self.tune(study, genotype, searched)
        return study.outcome("tuned-test", space, "params", tuned, tuned.file)

    def train_supernet(self, study: Study, space: CellSpace) -> tuple[Weights, MixtureLearner]:
        """Train weights on the training images, alpha and beta on the validation images (lines 1 to 6)."""
        objective = self.objective(study.recipe.training.epochs)
        weights = study.train("supernet", space, objective, study.recipe.training, streams=STREAMS)
        learner = objective.restore_learner(space, study.costs, study.learner_state(weights))
        _test_mixture(study, space, supernet_genotype(space, learner), weights, "supernet")
        return weights, learner

    def learn_masks(
        self, study: Study, space: CellSpace, weights: Weights, mixture: MixtureLearner
    ) -> tuple[Genotype, Weights]:
        """Train the masks on all training images, with everything else frozen (lines 7 to 11)."""
        from tuners.hm_nas.masks import derive_genotype

        settings = study.recipe.training.changed(epochs=self.mask_epochs)
        schedule = MaskSchedule.of(study.data, settings, self.mask_epochs)
        objective = self.masking(supernet_genotype(space, mixture), schedule)
        trained = study.train("masks", space, objective, settings, weights, {"train": "all-training"})
        learner = objective.begin(space, study.costs, 0)
        learner.load_state_dict(study.learner_state(trained))
        genotype = derive_genotype(space, learner)
        _report_removed(study, genotype)
        return genotype, self._store_searched(study, genotype, trained, learner)

    def derive_strongest(
        self, study: Study, space: CellSpace, weights: Weights, mixture: MixtureLearner
    ) -> tuple[Genotype, Weights]:
        """Derive the network by DARTS's hand-designed rule; the kept operations and edges then count in full."""
        strongest = mixture.most_probable()
        options = [choice.taken(value) for choice, value in zip(space.choices, strongest.indices, strict=True)]
        rows = [
            [float(option in kept) for option in range(len(choice.options))]
            for choice, kept in zip(space.choices, options, strict=True)
        ]
        genotype = Genotype.of(space, rows, [1.0] * len(rows))
        return genotype, self._store_searched(study, genotype, weights, None)

    def import_searched(self, study: Study, space: CellSpace, run: str) -> tuple[Genotype, Weights]:
        """Take the searched network of another run, with the weights that fit this run's classes."""
        from tuners.hm_nas.found_network import select_fitting_weights

        genotype, weights = read_searched_network(run, space)
        seed = self._seed_of_new_weights(study)
        change = partial(select_fitting_weights, genotype, seed)
        identity = {"genotype": str(genotype), "seed": seed}
        searched = study.derive_weights("searched", weights, RunFolder(run), change, identity)
        study.folder.write(FILE, f"{genotype}\n".encode())
        return genotype, searched

    def tune(self, study: Study, genotype: Genotype, searched: Weights) -> Weights:
        """Train the unmasked weights on all training images (lines 12 to 15)."""
        from tuners.hm_nas.masks import Tuning

        fixed = genotype.space.only(genotype.architecture)
        objective = Tuning(mixture=tuple(map(tuple, genotype.weights.tolist())))
        weights = study.train("tuned", fixed, objective, study.recipe.fit, searched, {"train": "all-training"})
        _test_mixture(study, fixed, genotype, weights, "tuned")
        return weights

    def objective(self, epochs: int) -> Mixture:
        """Return the objective of the supernet's training."""
        from tuners.darts.weighted_mixture import Mixture

        return Mixture(
            edges="softmax" if self.encoding == "multi" else "none",
            order=self.order,
            warmup_epochs=self.warmup_epochs,
            trigger_epochs=epochs if self.stochastic_trigger else None,
            learning_rate=self.architecture_learning_rate,
        )

    def masking(self, supernet: Genotype, schedule: MaskSchedule) -> Masking:
        """Return the objective of the masks' training."""
        from tuners.hm_nas.masks import Masking

        rates = self.mask_rates(schedule)
        return Masking(
            operations=supernet.operations,
            edges=supernet.edges,
            levels=self.levels,
            initial_mask=self.initial_mask,
            threshold=self.threshold,
            learning_rate=rates["mask_rate"],
            weight_mask_learning_rate=rates["weight_mask_rate"],
            decay_epoch=schedule.decay_epoch,
        )

    def mask_rates(self, schedule: MaskSchedule) -> dict[str, float]:
        """Return Adam's first learning rates for the masks, by the names of their settings."""
        changes = {"mask_rate": self.max_mask_change, "weight_mask_rate": self.max_weight_mask_change}
        return {
            name: getattr(self, name) if change is None else change / schedule.full_rate_steps
            for name, change in changes.items()
        }

    @model_validator(mode="after")
    def _check_rate_or_change(self) -> Self:
        for rate, change in (("mask_rate", "max_mask_change"), ("weight_mask_rate", "max_weight_mask_change")):
            if {rate, change} <= self.model_fields_set and getattr(self, change) is not None:
                raise ValueError(f"{rate} and {change} are two ways to set one learning rate: leave one of them out")
        return self

    def _check_masks_can_remove(self, plan: Plan) -> None:
        """Raises UserError if the masks have too few training steps to reach the threshold."""
        schedule = MaskSchedule.of(plan.data, plan.recipe.training, self.mask_epochs)
        rates = self.mask_rates(schedule)
        learnt = {"mask_rate"} if {*self.levels} - {"weights"} else set()
        learnt |= {"weight_mask_rate"} if "weights" in self.levels else set()
        schedule.check_reaches(self.initial_mask - self.threshold, {name: rates[name] for name in sorted(learnt)})

    def _seed_of_new_weights(self, study: Study) -> int | None:
        return None if self.inherit else study.seed_of("searched")

    def _store_searched(
        self, study: Study, genotype: Genotype, weights: Weights, masks: MaskingLearner | None
    ) -> Weights:
        """Store the searched network's masked weights without the rest of the supernet, and test the network."""
        from tuners.hm_nas.found_network import derive_searched_weights

        seed = self._seed_of_new_weights(study)
        change = partial(derive_searched_weights, genotype, masks, seed)
        identity = {"genotype": str(genotype), "seed": seed}
        searched = study.derive_weights("searched", weights, change=change, identity=identity)
        study.folder.write(FILE, f"{genotype}\n".encode())
        _test_mixture(study, genotype.space.only(genotype.architecture), genotype, searched, "searched")
        return searched


def supernet_genotype(space: CellSpace, learner: MixtureLearner) -> Genotype:
    """Return the supernet as a genotype: all operations and edges, with their weights."""
    import torch

    with torch.no_grad():
        return Genotype.of(space, learner.operation_weights().tolist(), learner.edge_weights().tolist())


def _test_mixture(study: Study, space: CellSpace, genotype: Genotype, weights: Weights, name: str) -> None:
    """Measure a mixture on the test images, as a row of the evaluation table."""
    from tuners.hm_nas.found_network import count_kept

    tensors, _ = study.folder.read_tensors(weights.file)
    notes = {"accuracy_of": name, **count_kept(study.costs, genotype, tensors)}
    result = study.evaluate(f"{name}-test", space, [genotype.architecture], weights, notes, "test", genotype.weights)
    study.say(
        f"{name}: {result.table.iloc[0]['top1']:.2f} % of the test images with {notes['kept_params']:,} parameters, "
        f"{format_count(int(notes['operations']), 'operation')} on {format_count(int(notes['edges']), 'edge')}"
    )


def _report_removed(study: Study, genotype: Genotype) -> None:
    """Report masks that removed nothing, and nodes that lost all inputs."""
    from tuners.hm_nas.masks import nodes_without_inputs

    surviving = [len(options) for options in genotype.space.surviving]
    kept = [value.bit_count() for value in genotype.architecture.indices]
    if kept == surviving:
        study.say("the masks have removed no operation and no edge")
    for node in nodes_without_inputs(genotype.space, genotype.architecture):
        study.say(f"{node} has lost all inputs: its output is zero")


def _cells(space: object) -> CellSpace:
    assert isinstance(space, CellSpace), "the method has checked its space"
    return space
