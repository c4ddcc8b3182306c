"""Optimizers and learning-rate schedules."""

from typing import Any

import keras

from terracyte.params.variant import Config

# The cosine schedule ends at this share of its peak.
_FINAL_SHARE = 0.01


def make(config: Config, peak: float, steps: int) -> keras.optimizers.Optimizer:
    """Lion (arXiv 2302.06675) or AdamW (arXiv 1711.05101); without weight decay of biases and normalisations.

    Args:
        config: `optimizer`, `schedule`, `warmup`, `beta_1`, `beta_2` and `weight_decay` matter.
        peak: the highest learning rate.
        steps: length of the schedule.
    """
    rate: Any = peak
    if config.schedule == "cosine":
        rate = _cosine(peak, steps, round(config.warmup * steps))
    kinds = {"lion": keras.optimizers.Lion, "adamw": keras.optimizers.AdamW}
    chosen = kinds[config.optimizer](rate, beta_1=config.beta_1, beta_2=config.beta_2, weight_decay=config.weight_decay)
    chosen.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return chosen


def _cosine(peak: float, steps: int, warmup: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """A linear rise from 0 over `warmup` steps, then half a cosine (arXiv 1608.03983) over the others."""
    decay = keras.optimizers.schedules.CosineDecay
    if warmup == 0:
        return decay(peak, steps, alpha=_FINAL_SHARE)
    return decay(0.0, steps - warmup, alpha=_FINAL_SHARE, warmup_target=peak, warmup_steps=warmup)
