"""HM-NAS: efficient NAS via hierarchical masking (Yan et al.), algorithm 1.

A supernet of cells is trained with a weight for each operation and each edge; masks then learn which operations, edges
and network weights are needed; and the weights that are left are tuned. Nothing is trained from scratch, and no rule
says how many operations an edge or how many edges a node keeps.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field

from raynas.interfaces.objective import STREAMS
from raynas.results.outcome import Outcome
from raynas.storage.run_folder import RunFolder
from raynas.storage.weights import Weights
from raynas.study.method import Method, check_fit_batch_size
from search_spaces.cell.genotype import FILE, Genotype, check_edges_take_subsets
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tuners.darts.method import check_no_budget, check_space_has_cells, restore_learner
from tuners.darts.weighted_mixture import Mixture, MixtureLearner
from tuners.hm_nas.found_network import fitting_weights, kept, searched_in, searched_weights
from tuners.hm_nas.masks import LEVELS, Level, Masking, MaskingLearner, Tuning, genotype_of, lost_nodes

if TYPE_CHECKING:
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study


class HmNas(Method):
    """Supernet, masks, tuning. The steps `supernet-test`, `searched-test` and `tuned-test` measure mixtures on the test
    images.

    The evaluation table's column `accuracy_of` says of what: the `supernet`, the `searched` network as the masks leave
    it, or the `tuned` one. `kept_params` are the weights that no mask has set to 0; multiply-adds are counted as if
    all weights of the operations that are left were there. The run folder's `genotype.txt` is the searched cell.
    `training` are the supernet's settings, and its batch size the masks'; `fit` are the tuning's.

    Attributes:
        encoding: `multi` for weights of operations and edges (equations 1 and 2), `single` for operations' alone.
        order: 2 moves them by the loss after the weights' next step, at three times the multiply-adds; 1 does not.
        warm_epochs: the first epochs, in which only the weights move.
        trigger: whether the chance that a step moves alpha and beta falls from 1 to 0 over the epochs after those.
        architecture_learning_rate: Adam's, of alpha and beta.
        rule: what derives the network: `masks`, or `strongest`, by hand: each node's two strongest inputs, each with
            its strongest operation (table 5).
        mask_epochs: of the masks' training, in the second half of which their rates are a tenth.
        levels: whose masks learn.
        initial: what all masks begin with.
        threshold: tau of equation 4.
        reach, weight_reach: the sum of Adam's rates over the masks' steps, which is how far a mask can go: that of
            operations and edges, and of weights. The rates follow from it: for the paper's 20 epochs of 390 steps
            1e-5 and 1e-4. A reach below `initial - threshold` could mask nothing.
        inherit: tune the searched network from the supernet's weights; otherwise from new ones (table 6).
        searched: the folder of a run whose searched network is tuned here, on other images, and nothing is searched;
            what does not fit them, a classifier of other classes, begins anew and unmasked (table 4).
    """

    paper: ClassVar[str] = "Yan et al., HM-NAS: Efficient Neural Architecture Search via Hierarchical Masking"
    spaces: ClassVar[str] = "spaces of cells whose edges take any number of operations"

    encoding: Literal["multi", "single"] = "multi"
    order: Literal[1, 2] = 1
    warm_epochs: int = Field(default=10, ge=0)
    trigger: bool = True
    architecture_learning_rate: float = Field(default=3e-4, gt=0)
    rule: Literal["masks", "strongest"] = "masks"
    mask_epochs: int = Field(default=20, ge=1)
    levels: tuple[Level, ...] = Field(default=LEVELS, min_length=1)
    initial: float = Field(default=1e-2, gt=0)
    threshold: float = Field(default=5e-3, gt=0)
    reach: float = Field(default=0.043, gt=0)
    weight_reach: float = Field(default=0.43, gt=0)
    inherit: bool = True
    searched: str | None = None

    def check(self, plan: Plan) -> None:
        name = plan.recipe.method["name"]
        check_no_budget(plan.recipe.budget, name)
        check_space_has_cells(plan.space, name)
        check_edges_take_subsets(_cells(plan.space))
        if plan.space.settings.get("partial", 1) != 1:
            raise UserError(f"The method {name} keeps the supernet's weights: leave space.partial out.")
        if self.order == 2 and plan.recipe.training.optimizer != "sgd":
            raise UserError("The second order looks ahead by a step of SGD: set training.optimizer=sgd, or order=1.")
        if self.threshold > self.initial:
            node = plan.space.choices[0].group
            raise UserError(
                f"method.threshold = {self.threshold} masks everything from the first step on, as masks begin with "
                f"{self.initial}: {node} and all other nodes would lose all inputs."
            )
        if plan.recipe.fit.auxiliary_weight or plan.recipe.fit.drop_path:
            raise UserError("HM-NAS tunes without them: leave fit.auxiliary_weight and fit.drop_path out.")
        check_fit_batch_size(plan)
        if self.searched is not None:
            searched_in(self.searched, _cells(plan.space))
        elif self.warm_epochs >= plan.recipe.training.epochs:
            raise UserError(
                f"Of {plan.recipe.training.epochs} epochs {self.warm_epochs} cannot be warm-up: none would be left."
            )

    def run(self, study: Study) -> Outcome:
        space = _cells(study.space)
        if self.searched is not None:
            genotype, searched = self.take_over(study, space, self.searched)
            tuned = self.tune(study, genotype, searched)
            return study.outcome("tuned-test", space, "params", tuned, tuned.file)
        weights, mixture = self.train_supernet(study, space)
        if self.rule == "masks":
            genotype, searched = self.learn_masks(study, space, weights, mixture)
        else:
            genotype, searched = self.take_strongest(study, space, weights, mixture)
        tuned = self.tune(study, genotype, searched)
        return study.outcome("tuned-test", space, "params", tuned, tuned.file)

    def train_supernet(self, study: Study, space: CellSpace) -> tuple[Weights, MixtureLearner]:
        """Algorithm 1, lines 1 to 6: weights on the training images, alpha and beta on the validation images."""
        objective = self.objective(study.recipe.training.epochs)
        weights = study.train("supernet", space, objective, study.recipe.training, streams=STREAMS)
        learner = restore_learner(study, objective, space, weights)
        _test(study, space, _whole(space, learner), weights, "supernet")
        return weights, learner

    def learn_masks(
        self, study: Study, space: CellSpace, weights: Weights, mixture: MixtureLearner
    ) -> tuple[Genotype, Weights]:
        """Algorithm 1, lines 7 to 11: the masks on all training images, everything else frozen."""
        supernet = _whole(space, mixture)
        settings = study.recipe.training.changed(epochs=self.mask_epochs)
        batches = (study.data.counts["train"] + study.data.counts["validation"]) // settings.batch_size
        objective = self.masking(supernet, min(batches, settings.steps or batches))
        trained = study.train("masks", space, objective, settings, weights, {"train": "all-training"})
        learner = objective.begin(space, study.costs, 0)
        learner.load_state_dict(study.learner_state(trained))
        genotype = genotype_of(space, learner)
        _tell(study, genotype)
        return genotype, self._keep(study, genotype, trained, learner)

    def take_strongest(
        self, study: Study, space: CellSpace, weights: Weights, mixture: MixtureLearner
    ) -> tuple[Genotype, Weights]:
        """The hand-designed rule of DARTS instead, after which all that is kept counts in full."""
        taken = mixture.most_probable()
        options = [choice.taken(value) for choice, value in zip(space.choices, taken.indices, strict=True)]
        rows = [
            [float(option in kept) for option in range(len(choice.options))]
            for choice, kept in zip(space.choices, options, strict=True)
        ]
        genotype = Genotype.of(space, rows, [1.0] * len(rows))
        return genotype, self._keep(study, genotype, weights, None)

    def take_over(self, study: Study, space: CellSpace, run: str) -> tuple[Genotype, Weights]:
        """The network that another run has searched, with what of its weights fits these classes."""
        genotype, weights = searched_in(run, space)
        seed = self._seed_of_new_weights(study)
        change = partial(fitting_weights, genotype, seed)
        identity = {"genotype": str(genotype), "seed": seed}
        searched = study.derive_weights("searched", weights, RunFolder(run), change, identity)
        study.folder.write(FILE, f"{genotype}\n".encode())
        return genotype, searched

    def tune(self, study: Study, genotype: Genotype, searched: Weights) -> Weights:
        """Algorithm 1, lines 12 to 15: the weights that are left, on all training images."""
        fixed = genotype.space.only(genotype.architecture)
        objective = Tuning(mixture=tuple(map(tuple, genotype.weights.tolist())))
        weights = study.train("tuned", fixed, objective, study.recipe.fit, searched, {"train": "all-training"})
        _test(study, fixed, genotype, weights, "tuned")
        return weights

    def objective(self, epochs: int) -> Mixture:
        return Mixture(
            edges="softmax" if self.encoding == "multi" else "none",
            order=self.order,
            warm_epochs=self.warm_epochs,
            trigger_epochs=epochs if self.trigger else None,
            learning_rate=self.architecture_learning_rate,
        )

    def masking(self, supernet: Genotype, steps: int) -> Masking:
        """The masks' objective, for epochs of so many steps."""
        fast = (self.mask_epochs + 1) // 2
        distance = steps * (fast + 0.1 * (self.mask_epochs - fast))
        return Masking(
            operations=supernet.operations,
            edges=supernet.edges,
            levels=self.levels,
            initial=self.initial,
            threshold=self.threshold,
            rate=self.reach / distance,
            weight_rate=self.weight_reach / distance,
            decay_epoch=fast,
        )

    def _seed_of_new_weights(self, study: Study) -> int | None:
        return None if self.inherit else study.seed_of("searched")

    def _keep(self, study: Study, genotype: Genotype, weights: Weights, masks: MaskingLearner | None) -> Weights:
        """The searched network's weights, masked; the rest of the supernet is left behind."""
        seed = self._seed_of_new_weights(study)
        change = partial(searched_weights, genotype, masks, seed)
        identity = {"genotype": str(genotype), "seed": seed}
        searched = study.derive_weights("searched", weights, change=change, identity=identity)
        study.folder.write(FILE, f"{genotype}\n".encode())
        _test(study, genotype.space.only(genotype.architecture), genotype, searched, "searched")
        return searched


def _whole(space: CellSpace, learner: MixtureLearner) -> Genotype:
    """The supernet itself."""
    with torch.no_grad():
        return Genotype.of(space, learner.operation_weights().tolist(), learner.edge_weights().tolist())


def _test(study: Study, space: CellSpace, genotype: Genotype, weights: Weights, stage: str) -> None:
    """The mixture's accuracy on the test images, as a row of the evaluation table."""
    tensors, _ = study.folder.read_tensors(weights.file)
    notes = {"accuracy_of": stage, **kept(study, genotype, tensors)}
    found = study.evaluate(
        f"{stage}-test", space, [genotype.architecture], weights, notes, "test", genotype.weights
    ).table.iloc[0]
    study.say(
        f"{stage}: {found['top1']:.2f} % of the test images with {notes['kept_params']:,} parameters, "
        f"{notes['operations']} operations on {notes['edges']} edges"
    )


def _tell(study: Study, genotype: Genotype) -> None:
    """Say what would surprise."""
    everything = [len(options) for options in genotype.space.surviving]
    left = [value.bit_count() for value in genotype.architecture.indices]
    if left == everything:
        study.say("the masks have removed no operation and no edge")
    for node in lost_nodes(genotype.space, genotype.architecture):
        study.say(f"{node} has lost all inputs: it gives zeros")


def _cells(space: object) -> CellSpace:
    assert isinstance(space, CellSpace), "the method has checked its space"
    return space
