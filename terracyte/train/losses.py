"""The training loss: weighted cross entropy, for masks optionally with an overlap term (Dice or Lovász-Softmax)."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from terracyte.core.errors import InputError
from terracyte.params.variant import Config

# (n, k) truth, (n, k) probabilities → a scalar.
Overlap = Callable[[Any, Any], Any]


@keras.saving.register_keras_serializable(package="terracyte")
class WeightedCrossEntropy(keras.losses.Loss):  # type: ignore[misc]  # Keras ships no types
    """Class-weighted cross entropy of softmax(logits), with label smoothing (arXiv 1512.00567).

    For images or pixels i, classes k, targets t (each row a distribution, one-hot or mixed by CutMix),
    logits z, class weights w, smoothing s, and the K classes of positive weight:

        n_ik = logsumexp_j(z_ij) - z_ik                               negative log-likelihood of class k
        W_i  = Σ_k w_k t_ik                                           weight of i
        l_i  = (1 - s) Σ_k w_k t_ik n_ik + s W_i (Σ_{k: w_k > 0} n_ik) / K
        loss = Σ_i l_i / Σ_i W_i

    Dividing by the sum of the weights (not by the number of pixels) makes the scale of the loss independent of the
    weights and of how much of a batch is ignored. A class of weight 0 is ignored: its images or pixels count neither
    in the numerator nor in the denominator. At the edges: uniform logits give log(number of
    classes); a confident right answer gives 0 (with s = 0); a batch of ignored pixels only gives 0, not NaN.

    Args:
        class_weights: (k,) weights w >= 0, at least one of them positive; only their ratios matter.
        label_smoothing: s in [0, 1).
        name: of the loss.

    Example:
        >>> loss = WeightedCrossEntropy([1.0, 1.0])
        >>> float(loss([[1.0, 0.0]], [[0.0, 0.0]]))  # log 2
        0.6931471824645996
    """

    def __init__(
        self, class_weights: Sequence[float], label_smoothing: float = 0.0, name: str = "weighted_cross_entropy"
    ) -> None:
        # `call` already reduces to one number
        super().__init__(name=name, reduction=None)
        self.class_weights = [float(weight) for weight in class_weights]
        self.label_smoothing = label_smoothing

    def sums(self, targets: Any, logits: Any) -> tuple[Any, Any]:
        """Σ_i l_i and Σ_i W_i, so that the loss over many batches is the same as over one.

        Args:
            targets: (..., k) float32.
            logits: (..., k) float32.
        """
        weights = ops.convert_to_tensor(self.class_weights, dtype=logits.dtype)
        smoothing = self.label_smoothing
        scored = ops.cast(weights > 0, logits.dtype)
        negative_log_likelihood = -ops.log_softmax(logits, axis=-1)
        weighted = targets * weights
        weight = ops.sum(weighted, axis=-1)
        # one weight per class and image: no second pass over the logits for the smoothed part
        coefficients = (1 - smoothing) * weighted + smoothing * weight[..., None] * scored / ops.sum(scored)
        return ops.sum(coefficients * negative_log_likelihood), ops.sum(weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of one batch, a scalar."""
        total, weight = self.sums(y_true, y_pred)
        return ops.divide_no_nan(total, weight)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {
            "class_weights": self.class_weights,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="terracyte")
class OverlapLoss(WeightedCrossEntropy):
    """The weighted cross entropy plus `overlap_weight` times an overlap term, a differentiable stand-in for 1 - IoU.

    The term is computed from the probabilities among the classes of positive weight, at the pixels whose true class
    is one of them, and is the unweighted mean over the classes that occur in the batch: neither class weights nor
    label smoothing enter it. Lovász-Softmax of masks (b, h, w, k) sees a quarter of the pixels, see
    `_every_fourth_pixel`. `sums`, and so the loss on the validation split, is the cross entropy alone.

    Args:
        class_weights: (k,) weights w >= 0, at least one of them positive.
        label_smoothing: of the cross entropy, in [0, 1).
        overlap: dice (`soft_dice`) or lovasz (`lovasz_softmax`).
        overlap_weight: factor of the term, >= 0.
        name: of the loss.
    """

    def __init__(
        self,
        class_weights: Sequence[float],
        label_smoothing: float = 0.0,
        overlap: str = "dice",
        overlap_weight: float = 1.0,
        name: str = "overlap_loss",
    ) -> None:
        super().__init__(class_weights, label_smoothing, name)
        self.overlap = overlap
        self.overlap_weight = overlap_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of one batch, a scalar."""
        return super().call(y_true, y_pred) + self.overlap_weight * self._overlap(y_true, y_pred)

    def _overlap(self, targets: Any, logits: Any) -> Any:
        if self.overlap == "lovasz" and len(logits.shape) == 4:
            targets, logits = _every_fourth_pixel(targets), _every_fourth_pixel(logits)
        # (n, k) of the classes that count. A product with columns of the identity is quicker than picking them.
        scored = np.eye(len(self.class_weights), dtype=np.float32)[:, np.array(self.class_weights) > 0]
        truth = ops.matmul(ops.reshape(targets, (-1, len(scored))), scored)
        probabilities = ops.softmax(ops.matmul(ops.reshape(logits, (-1, len(scored))), scored))
        return _OVERLAPS[self.overlap](truth, probabilities)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "overlap": self.overlap, "overlap_weight": self.overlap_weight}


def _every_fourth_pixel(x: Any) -> Any:
    """(b, h, w, k) → (n, k): of each square of 2 x 2 pixels one, another one in each of four neighbouring images.

    Sorting took a quarter of a training step; which images are neighbours changes from epoch to epoch.
    """
    parts = [x[image::4, image % 2 :: 2, image // 2 :: 2] for image in range(4)]
    return ops.concatenate([ops.reshape(part, (-1, x.shape[-1])) for part in parts])


def soft_dice(truth: Any, probabilities: Any) -> Any:
    """Soft Dice loss (arXiv 1606.04797, with plain sums in the denominator) over all pixels of a batch.

    For pixels i, classes k, truth t (all zeros: the pixel is ignored), probabilities p and labelled pixels L:

        d_k  = 1 - 2 Σ_i t_ik p_ik / (Σ_i t_ik + Σ_{i in L} p_ik)
        loss = mean of d_k over the classes with Σ_i t_ik > 0

    A perfect batch gives 0, one without any overlap 1, one without labelled pixels 0.

    Args:
        truth: (n, k) one-hot rows, or zeros where ignored.
        probabilities: (n, k), rows summing to 1.
    """
    labelled = ops.sum(truth, axis=-1, keepdims=True)
    areas = ops.sum(truth, axis=0)
    hits = ops.sum(truth * probabilities, axis=0)
    losses = 1 - ops.divide_no_nan(2 * hits, areas + ops.sum(labelled * probabilities, axis=0))
    return _mean_of_present(losses, areas)


def lovasz_softmax(truth: Any, probabilities: Any) -> Any:
    """Lovász-Softmax (arXiv 1705.08790): the convex extension of each class's Jaccard loss, 1 - IoU.

    A class's errors |t - p| are sorted, the largest first; the j-th is weighted by the growth of the Jaccard loss
    when that pixel is added to the j - 1 wrong ones before it. Hard predictions thus give exactly 1 - IoU. The mean
    runs over the classes that occur; a perfect batch gives 0, a total miss 1, one without labelled pixels 0.

    Args:
        truth: (n, k) one-hot rows, or zeros where ignored.
        probabilities: (n, k), rows summing to 1.
    """
    labelled = ops.sum(truth, axis=-1, keepdims=True)
    # (k, n) from here on: each class is a row to be sorted
    errors = ops.transpose(ops.abs(truth - probabilities) * labelled)
    truth = ops.transpose(truth)
    order = ops.argsort(-errors, axis=-1)
    growth = _jaccard_growth(ops.take_along_axis(truth, order, axis=-1))
    losses = ops.sum(ops.take_along_axis(errors, order, axis=-1) * growth, axis=-1)
    return _mean_of_present(losses, ops.sum(truth, axis=-1))


def _jaccard_growth(truth: Any) -> Any:
    """The growth of 1 - I/U with each wrong pixel, (k, n), from rows (k, n) of sorted one-hot truth.

    A missed pixel of the class lowers the intersection by 1, a false one widens the union by 1. Written out
    as 1/U and I/(U(U - 1)): the difference of neighbouring ratios would lose most digits of single precision.
    """
    missed = ops.cumsum(truth, axis=-1)
    intersection = ops.sum(truth, axis=-1, keepdims=True) - missed
    union = intersection + missed + ops.cumsum(1 - truth, axis=-1)
    # where the union is 1, the second term is 0 or belongs to a class that does not occur
    return truth / union + (1 - truth) * intersection / (union * ops.maximum(union - 1, 1))


def _mean_of_present(losses: Any, areas: Any) -> Any:
    """Mean of the (k,) losses over the classes with a positive area; 0 where there is none."""
    present = ops.cast(areas > 0, losses.dtype)
    return ops.divide_no_nan(ops.sum(losses * present), ops.sum(present))


_OVERLAPS: dict[str, Overlap] = {"dice": soft_dice, "lovasz": lovasz_softmax}


def make(config: Config, class_weights: Sequence[float], dense: bool) -> WeightedCrossEntropy:
    """The loss that a configuration asks for.

    Args:
        config: `label_smoothing`, `overlap_loss` and `overlap_weight` matter.
        class_weights: (k,) weights >= 0; a class of weight 0 is ignored altogether.
        dense: whether the task has masks; overlap of single images means nothing.

    Raises:
        InputError: an overlap term is asked for on a task with labels.
    """
    if config.overlap_loss == "none":
        return WeightedCrossEntropy(class_weights, config.label_smoothing)
    if not dense:
        raise InputError(
            f"params.yaml: 'overlap_loss' is {config.overlap_loss}, which needs a task with masks; choose none"
        )
    return OverlapLoss(class_weights, config.label_smoothing, config.overlap_loss, config.overlap_weight)
