"""The notebook's training, written plainly and on its own: samples in columns, one
weight matrix (n_in, n_out) and one bias column (n_out, 1) a layer, numpy's global
generator. Shares no code with the package."""

from itertools import pairwise

import numpy as np


def squash(values):
    return 1.0 / (1.0 + np.exp(-values))


def draw_network(sizes):
    weights, biases = [], []
    for n_in, n_out in pairwise(sizes):
        bound = np.sqrt(6.0) / np.sqrt(n_in + n_out)
        weights.append(np.random.uniform(-bound, bound, (n_in, n_out)))
        biases.append(np.zeros((n_out, 1)))
    return weights, biases


def propagate(columns, weights, biases):
    """States of every layer, the last one squashed too, and the probabilities."""
    states = [columns]
    for W, b in zip(weights, biases, strict=True):
        states.append(squash(W.T @ states[-1] + b))
    powers = np.exp(states[-1] - states[-1].max(axis=0))
    return states, powers / powers.sum(axis=0)


def train_notebook(X, y, hidden, *, seed, lam, epochs, rate=0.2, mu=0.9):
    """Objective before each epoch's update, and the final weights and biases."""
    np.random.seed(seed)
    n, n_classes = len(y), y.max() + 1
    wanted = np.eye(n_classes)[:, y]
    weights, biases = draw_network([X.shape[1], *hidden, n_classes])
    speeds_W = [np.zeros_like(W) for W in weights]
    speeds_b = [np.zeros_like(b) for b in biases]
    objective = []
    for _ in range(epochs):
        states, P = propagate(X.T, weights, biases)
        squares = sum(np.sum(W**2) for W in weights)
        objective.append(-np.sum(wanted * np.log(P)) / n + 0.5 * lam / n * squares)
        slope = P - wanted
        gradients = []
        for layer in reversed(range(len(weights))):
            slope = slope * states[layer + 1] * (1 - states[layer + 1])
            gradients.insert(
                0,
                (
                    states[layer] @ slope.T + lam * weights[layer],
                    slope.sum(axis=1, keepdims=True),
                ),
            )
            slope = weights[layer] @ slope
        for layer, (gW, gb) in enumerate(gradients):
            speeds_W[layer] = mu * speeds_W[layer] - rate * gW / n
            speeds_b[layer] = mu * speeds_b[layer] - rate * gb / n
            weights[layer] = weights[layer] + speeds_W[layer]
            biases[layer] = biases[layer] + speeds_b[layer]
    return np.array(objective), weights, biases
