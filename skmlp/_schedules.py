"""How the learning rate changes from epoch to epoch."""

import math

SMALLEST_RATE = 1e-6  # where "adaptive" ends, as in MLPClassifier


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
        position = min(epoch, horizon - 1) / horizon
        return initial * 0.5 * (1.0 + math.cos(math.pi * position))
    return initial * factor if schedule == "adaptive" else initial
