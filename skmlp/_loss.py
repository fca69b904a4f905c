"""Softmax and cross-entropy, from raw scores (classes in rows, samples in columns)."""

from functools import partial

import numpy as np

from ._layers import of_each_batch


def softmax(scores):
    """Turn scores (..., K, B) into probabilities, in place; return them."""
    scores -= np.maximum.reduce(scores, axis=-2, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, axis=-2, keepdims=True)
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

    scores, gradient : (M, K, B); ``calls`` read the one and overwrite the other,
        and `value` (M,) with the loss of each network.
    batches : list of what has the `targets` (1, K * B) and `weights` (1, B) of a step
        for its networks, the slice `models`.
    """

    def __init__(self, scores, gradient, batches):
        n_models, n_classes, n_samples = scores.shape
        norm = np.empty((n_models, 1, n_samples), scores.dtype)
        flat_norm, log_norm = norm[:, 0], np.empty_like(norm[:, 0])  # (M, B)
        flat = gradient.reshape(n_models, n_classes * n_samples)  # a view
        own_score = np.empty(n_models, scores.dtype)
        self.value = np.empty(n_models, scores.dtype)

        self.calls = [
            partial(np.maximum.reduce, scores, 1, None, flat_norm),
            partial(np.subtract, scores, norm, gradient),
            *of_each_batch(batches, dot_targets, flat, own_score),
            partial(np.exp, gradient, gradient),
            partial(np.add.reduce, gradient, 1, None, flat_norm),
            partial(np.log, flat_norm, log_norm),
            *of_each_batch(batches, dot_weights, log_norm, self.value),
            partial(np.subtract, self.value, own_score, self.value),
            *of_each_batch(batches, divide_weights, flat_norm),
            partial(np.multiply, gradient, norm, gradient),
            *of_each_batch(batches, subtract_targets, flat),
        ]


def dot_targets(batch, S, own_score):
    np.vecdot(batch.targets, S, own_score)


def dot_weights(batch, log_norm, value):
    np.vecdot(batch.weights, log_norm, value)


def divide_weights(batch, norm):
    np.divide(batch.weights, norm, norm)


def subtract_targets(batch, gradient):
    np.subtract(gradient, batch.targets, gradient)
