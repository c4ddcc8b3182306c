"""The phases of transfer learning: first the new head alone, then the backbone with it."""

import dataclasses

from terracyte.params.variant import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """Epochs that share an optimizer and its schedule.

    Attributes:
        first, last: epochs, counted from 1, both included.
        rate: highest learning rate.
        share: share of the backbone's layers that are trained, counted from its end, 0-1; None without pretrained
            weights.
    """

    first: int
    last: int
    rate: float
    share: float | None

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return self.last - self.first + 1


def plan(config: Config, pretrained: bool) -> tuple[Phase, ...]:
    """The phases of a whole training.

    Without pretrained weights there is one phase, which trains everything at the full rate: a frozen random backbone
    would be of no use. The same holds for `head_epochs: 0`. With `fine_tune_depth: 0` all epochs train the head alone.

    Args:
        config: `epochs`, `learning_rate`, `head_epochs`, `fine_tune_rate` and `fine_tune_depth` matter.
        pretrained: whether the backbone starts from pretrained weights.
    """
    if not pretrained:
        return (Phase(first=1, last=config.epochs, rate=config.learning_rate, share=None),)
    head = min(config.head_epochs, config.epochs) if config.fine_tune_depth else config.epochs
    phases = (
        Phase(first=1, last=head, rate=config.learning_rate, share=0.0),
        Phase(
            first=head + 1,
            last=config.epochs,
            rate=config.learning_rate * (config.fine_tune_rate if head else 1.0),
            share=config.fine_tune_depth if head else 1.0,
        ),
    )
    return tuple(phase for phase in phases if phase.epochs)
