"""Ray Train's trainer, whose controller ends with it and which leaves Ctrl-C alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray
from ray.train.torch import TorchTrainer

if TYPE_CHECKING:
    from ray.actor import ActorHandle
    from ray.train import Result
    from ray.train.v2._internal.execution.controller import TrainController


class Trainer(TorchTrainer):
    """Ends its controller in so many words, and does not take SIGINT for itself.

    Ray lets the controller go out of scope: its process then leaves by its own road, on which it has been seen to
    hang for good with half a gigabyte, and the cluster's server keeps a socket of it for five minutes. Ray also
    answers Ctrl-C by ending this process as if all were well. It hands the controller over where it would do so.
    """

    _controller: ActorHandle[TrainController] | None = None

    def fit(self) -> Result:
        try:
            return super().fit()
        finally:
            if self._controller is not None:
                ray.kill(self._controller)

    def _register_sigint_handler(self, controller: ActorHandle[TrainController]) -> None:
        self._controller = controller
