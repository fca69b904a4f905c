"""Learning rates: what "auto" comes to, and how they change from epoch to epoch."""

import math

SMALLEST_RATE = 1e-6  # where "adaptive" ends, as in MLPClassifier
FULL_BATCH = 32  # effective rows from which a step needs no smaller rate


def batch_size_of(batch_size, n_samples):
    """Rows of a step: "auto" is the square root of their number, from 32 to 512."""
    if batch_size == "auto":
        batch_size = min(max(math.isqrt(n_samples), 32), 512)
    return min(int(batch_size or n_samples), n_samples)


def automatic_rate(activation, n_hidden, *, momentum, is_falling, effective_batch):
    """The first learning rate, where the user leaves it to us.

    What suits the activation and the depth; less where a batch holds few rows, as the
    linear scaling rule has it [1]_, where momentum is above 0.9, and where the rate
    does not fall to 0.

    is_falling : whether learning_rate is "cosine".
    effective_batch : effective number of rows of a batch.

    .. [1] P. Goyal et al., "Accurate, large minibatch SGD", arXiv:1706.02677, 2017.
    """
    if activation == "logistic" or n_hidden == 0:
        rate = 1.0 if 1 <= n_hidden <= 2 else 0.3
    else:
        rate = {"tanh": 0.1, "relu": 0.03, "identity": 0.03 / n_hidden}[activation]
    rate *= min(1.0, effective_batch / FULL_BATCH)
    if momentum > 0.9:
        rate *= max(1.0 - momentum, 0.001) / 0.1
    return rate if is_falling else 0.2 * rate


def automatic_init_scale(activation):
    """Sigmoids have a quarter of the derivative that Glorot's draw was made for."""
    return 5.0 if activation == "logistic" else 1.0


def scheduled_rate(schedule, initial, *, epoch, horizon, weight_seen, power_t, factor):
    """The learning rate of an epoch.

    schedule : "constant", "adaptive" (initial times `factor`, which shrinks on a
        plateau), "invscaling" (by the weight of the samples seen so far) or "cosine"
        (one half wave over `horizon` epochs).
    epoch : number of epochs before this one.
    """
    if schedule == "invscaling":
        return initial * math.exp(-power_t * math.log1p(weight_seen))
    if schedule == "cosine":
        return initial * 0.5 * (1.0 + math.cos(math.pi * epoch / horizon))
    return initial * factor if schedule == "adaptive" else initial
