"""The error of a step that cannot finish."""


class StepFailed(RuntimeError):
    """A step could not finish. The same run can go on from its finished steps and checkpoints."""
