"""Gradient descent with momentum, and how its learning rate changes."""

import math
from functools import partial

import numpy as np


class Momentum:
    """V <- mu V - lr (grad + decay W) ; W <- W + V, for M networks at once.

    Heavy-ball momentum [1]_, or with nesterov the step W <- W + mu V - lr grad that
    looks ahead [2]_. Biases move the same way, without decay.

    params, grads, velocities : (M, P), the weights first. ``calls`` move params along
        grads, and spoil these.
    momentum, decay : (M, 1), as is `learning_rate`, which each epoch sets.
    penalty : decay / 2 |W|^2 that a step began with, (M,).

    .. [1] B. T. Polyak, "Some methods of speeding up the convergence of iteration
       methods", USSR Comput. Math. Math. Phys. 4(5), 1964.
    .. [2] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of
       initialization and momentum in deep learning", ICML 2013.
    """

    def __init__(self, params, grads, velocities, momentum, decay, nesterov, n_weights):
        self.learning_rate = np.zeros_like(momentum)
        rate, mu, decay = map(broadcastable, (self.learning_rate, momentum, decay))
        weights, weight_grads = params[:, :n_weights], grads[:, :n_weights]
        decayed = np.empty_like(weights)
        squares = np.empty(len(params), params.dtype)
        self.penalty = np.empty(len(params), params.dtype)
        self.calls = [
            partial(np.multiply, weights, decay, decayed),
            partial(np.vecdot, decayed, weights, squares),
            partial(np.multiply, squares, 0.5, self.penalty),
            partial(np.add, weight_grads, decayed, weight_grads),
            partial(np.multiply, grads, rate, grads),
            partial(np.multiply, velocities, mu, velocities),
            partial(np.subtract, velocities, grads, velocities),
        ]
        if nesterov:
            self.calls += [
                partial(np.subtract, params, grads, params),
                partial(np.multiply, velocities, mu, grads),
                partial(np.add, params, grads, params),
            ]
        else:
            self.calls.append(partial(np.add, params, velocities, params))


def broadcastable(column):
    """A view of a column (M, 1); of a single number a scalar, which is faster."""
    return column if len(column) > 1 else column[0, 0, ...]


def scheduled_rate(schedule, initial, *, epoch, horizon, n_seen, power_t, factor):
    """The learning rate of an epoch.

    schedule : "constant", "adaptive" (initial times `factor`, which shrinks on a
        plateau), "invscaling" (by the samples seen so far) or "cosine" (one half
        wave over `horizon` epochs; it stays at the last one's rate after them).
    epoch : number of epochs before this one.
    """
    if schedule == "invscaling":
        return initial / (n_seen + 1) ** power_t
    if schedule == "cosine":
        position = min(epoch, horizon - 1) / horizon
        return initial * 0.5 * (1.0 + math.cos(math.pi * position))
    return initial * factor if schedule == "adaptive" else initial
