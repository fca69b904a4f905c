"""The settings of most tests: steady and plain, whatever the defaults are."""

from skmlp import MomentumMLPClassifier

PLAIN = {
    "alpha": 0.3,
    "batch_size": 200,
    "init_scale": 1.0,
    "learning_rate": "constant",
    "learning_rate_init": 0.2,
    "max_iter": 200,
    "n_iter_no_change": 10,
    "nesterovs_momentum": False,
    "standardize": False,
}


def plain(hidden_layer_sizes=(48, 32), *args, **params):
    return MomentumMLPClassifier(hidden_layer_sizes, *args, **(PLAIN | params))
