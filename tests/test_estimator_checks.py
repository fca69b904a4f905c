"""scikit-learn's own checks, on several configurations, none expected to fail."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmlp import MomentumMLPClassifier, MomentumMLPClassifierCV

CONFIGURATIONS = [
    MomentumMLPClassifier(),
    MomentumMLPClassifier(output_activation="logistic", batch_size=None),
    MomentumMLPClassifier(activation="relu", nesterovs_momentum=True),
    MomentumMLPClassifier(
        activation="tanh", learning_rate="adaptive", learning_rate_init=0.05
    ),
    MomentumMLPClassifier((), "identity", shuffle=False),
    MomentumMLPClassifier((48, 32), learning_rate="constant", init_scale=1),
    MomentumMLPClassifierCV(batch_size=None),
    MomentumMLPClassifierCV((), batch_size=None, cv=3, alphas=[1, 0.1]),
]


# Some checks fit features around 100, which rightly is remarked.
@pytest.mark.filterwarnings("ignore:The network has learned little")
@pytest.mark.filterwarnings("ignore:alpha_=.* scores best and is at the end")
@parametrize_with_checks(CONFIGURATIONS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
