"""Softmax and cross-entropy, from raw scores (classes in rows, samples in columns)."""

import numpy as np

from ._layers import Buffer


def softmax(scores):
    """Turn scores (..., K, B) into probabilities, in place; return them."""
    scores -= scores.max(axis=-2, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-2, keepdims=True)
    return scores


def log_softmax(scores):
    """Turn scores (..., K, B) into log-probabilities, in place; return them.

    Never -inf for finite scores: the logarithm is of a sum that is at least 1.
    """
    scores -= scores.max(axis=-2, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=-2, keepdims=True))
    return scores


class SoftmaxCrossEntropy:
    """Weighted cross-entropy of softmax(scores), its value and gradient together.

    With S = scores less their maximum, n = sum_k exp(S_k) and targets T one-hot
    times the sample's weight w:

        loss = sum_b w_b log n_b - sum_kb T_kb S_kb
        d loss / d scores = exp(S) w / n - T
    """

    def __init__(self, n_models, n_samples, dtype):
        self._norm = Buffer(n_models * n_samples, dtype)
        self._log_norm = Buffer(n_models * n_samples, dtype)

    def __call__(self, scores, targets, weights, gradient):
        """Return the loss of each network, (M,), and overwrite `gradient`.

        scores, gradient : (M, K, B); targets : (1, K, B); weights : (1, B).
        """
        n_models, _, n_samples = scores.shape
        norm = self._norm.view(n_models, 1, n_samples)
        log_norm = self._log_norm.view(n_models, n_samples)
        np.maximum.reduce(scores, axis=1, keepdims=True, out=norm)
        np.subtract(scores, norm, out=gradient)  # (M, K, B)
        own_score = np.vecdot(targets.reshape(1, -1), gradient.reshape(n_models, -1))
        np.exp(gradient, out=gradient)
        np.add.reduce(gradient, axis=1, keepdims=True, out=norm)
        np.log(norm[:, 0], out=log_norm)
        loss = np.vecdot(weights, log_norm) - own_score  # (M,)
        np.divide(weights[np.newaxis], norm, out=norm)
        gradient *= norm
        gradient -= targets
        return loss
