"""DMaskingNAS: FBNetV2, differentiable search for spatial and channel dimensions (Wan et al.).

All channel options of a block are masks of one feature map, so that their number costs neither memory nor time. The
search moves weights and architecture parameters by gradients. It ends with the most probable architecture within the
budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from raynas.interfaces.streams import STREAMS
from raynas.results.outcome import Outcome
from raynas.study.method import Method
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tuners.dmasking.settings import MaskingSettings
from tuners.most_probable import choose_within_budget

if TYPE_CHECKING:
    from raynas.study.run_plan import Plan
    from raynas.study.study import Study
    from search_spaces import Budget
    from tuners.dmasking.masked_mixture import MaskedMixture


class DMasking(Method, MaskingSettings):
    """Learn the weights of a masked supernet and theta, the logits of all options, in turn.

    The search has this form:

        for each epoch, at a temperature tau that falls from epoch to epoch:
            for each training batch: draw Gumbel weights g, and move the weights by the mixture's cross-entropy
            after the warm-up, for each validation batch: draw g, and move theta by
                cross-entropy x alpha x log(expected cost under g)^beta
        take the most probable architecture within the budget

    The paper's search over resolutions is left out: the resolution is a setting of raynas's spaces, not a choice.

    Attributes:
        epochs: the epochs of the search, counted with the warm-up.
    """

    paper: ClassVar[str] = (
        "Wan et al., FBNetV2: Differentiable Neural Architecture Search for Spatial and Channel Dimensions"
    )
    spaces: ClassVar[str] = "elastic spaces, in one pass; layer-by-layer spaces, with the memory of all options"
    own_training: ClassVar[Mapping[str, str]] = {"epochs": "method.epochs"}

    epochs: int = Field(default=90, ge=1)

    def check(self, plan: Plan) -> None:
        if self.warmup_epochs >= self.epochs:
            raise UserError(
                f"method.warmup_epochs is {self.warmup_epochs}; it must be below method.epochs, which is "
                f"{self.epochs}. Lower it."
            )
        if isinstance(plan.space, CellSpace):
            raise UserError(
                f"{plan.space.name} has cells, but the method dmasking searches channels and layers: use a space such "
                "as fbnetv2-f, or method.name=darts."
            )

    def run(self, study: Study) -> Outcome:
        objective = self.objective(study.budget)
        settings = study.recipe.training.changed(epochs=self.epochs)
        weights = study.train("supernet", study.space, objective, settings, streams=STREAMS)
        learner = objective.begin(study.space, study.costs, study.recipe.seed)
        learner.load_state_dict(study.learner_state(weights))
        # The factors of the distribution are the choices, so a combination is an architecture.
        architecture, note = choose_within_budget(study, learner.log_probabilities(), lambda indices: indices)
        study.evaluate("final", study.space, [architecture], weights, learner.notes())
        study.say(note)
        return study.outcome("final", study.space, study.budget.front_resource(), weights)

    def objective(self, budget: Budget) -> MaskedMixture:
        """Return the objective of the search. The first resource of the budget is the cost of its loss."""
        from tuners.dmasking.masked_mixture import MaskedMixture

        own = self.model_dump(include=set(MaskingSettings.model_fields))
        return MaskedMixture(resource=budget.front_resource(), **own)
