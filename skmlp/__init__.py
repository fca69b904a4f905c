"""The multilayer perceptron for scikit-learn users."""

from importlib.metadata import version

from ._classifier import MomentumMLPClassifier

__version__ = version("skmlp")

__all__ = ["MomentumMLPClassifier"]
