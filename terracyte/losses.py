"""The loss that every network is trained with."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="terracyte")
class WeightedCrossEntropy(keras.losses.Loss):  # type: ignore[misc]  # Keras ships no types
    """Class-weighted cross entropy of softmax(logits), with label smoothing (arXiv 1512.00567).

    For images or pixels i, classes k, targets t (each row a distribution, one-hot or mixed by CutMix),
    logits z, class weights w, smoothing s, and the K classes of positive weight:

        n_ik = logsumexp_j(z_ij) - z_ik                               negative log-likelihood of class k
        W_i  = Σ_k w_k t_ik                                           weight of i
        l_i  = (1 - s) Σ_k w_k t_ik n_ik + s W_i (Σ_{k: w_k > 0} n_ik) / K
        loss = Σ_i l_i / Σ_i W_i

    Dividing by the summed weights (not by their number) keeps the loss, and thus the learning rate, on one
    scale whatever the weights are and however much of a batch is ignored. A class of weight 0 is ignored: its
    images or pixels count neither above nor below the line. At the edges: uniform logits give log(number of
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
