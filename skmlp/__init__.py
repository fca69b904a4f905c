"""The multilayer perceptron for scikit-learn users."""

from importlib.metadata import version

from ._classifier import MomentumMLPClassifier
from ._cv import MomentumMLPClassifierCV
from ._display import LossCurveDisplay
from ._export import to_sklearn

__version__ = version("skmlp")

__all__ = [
    "LossCurveDisplay",
    "MomentumMLPClassifier",
    "MomentumMLPClassifierCV",
    "to_sklearn",
]
