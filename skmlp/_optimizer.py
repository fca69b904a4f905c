"""Gradient descent with momentum, and how its learning rate changes."""

import math

import numpy as np


class Momentum:
    """V <- mu V - lr (grad + decay W) ; W <- W + V, for M networks at once.

    Heavy-ball momentum [1]_, or with nesterov the step W <- W + mu V - lr grad that
    looks ahead [2]_. Biases move the same way, without decay.

    params, grads, velocities : (M, P), the weights first; grads are spoilt.
    momentum, decay : (M, 1).

    .. [1] B. T. Polyak, "Some methods of speeding up the convergence of iteration
       methods", USSR Comput. Math. Math. Phys. 4(5), 1964.
    .. [2] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of
       initialization and momentum in deep learning", ICML 2013.
    """

    def __init__(self, params, grads, velocities, momentum, decay, nesterov, n_weights):
        self.params, self.grads, self.velocities = params, grads, velocities
        self.momentum, self.decay, self.nesterov = momentum, decay, nesterov
        self.weights = params[:, :n_weights]
        self.weight_grads = grads[:, :n_weights]
        self.decayed = np.empty_like(self.weights)

    def step(self, learning_rate):
        """Move params along grads; learning_rate (M, 1).

        Returns the penalty decay / 2 |W|^2 that the step began with, (M,).
        """
        np.multiply(self.weights, self.decay, out=self.decayed)
        penalty = 0.5 * np.vecdot(self.decayed, self.weights)
        self.weight_grads += self.decayed
        self.grads *= learning_rate
        self.velocities *= self.momentum
        self.velocities -= self.grads
        if self.nesterov:
            self.params -= self.grads
            np.multiply(self.velocities, self.momentum, out=self.grads)
            self.params += self.grads
        else:
            self.params += self.velocities
        return penalty


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
