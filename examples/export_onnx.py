"""
A fitted network as an ONNX file
================================

A network is fitted on the digits, written as ONNX and run by onnxruntime, which needs
neither scikit-learn nor skmlp. You will see the size of the
file and the largest difference between the two programs' probabilities.

Needs the extra ``onnx``.
"""

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skmlp import MomentumMLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32), y, random_state=0
)
mlp = MomentumMLPClassifier(random_state=0).fit(X_train, y_train)

# %%
# skl2onnx takes it as it is, alone or as a Pipeline's last step.

model = to_onnx(mlp, X_train[:1]).SerializeToString()

# %%
# Whoever has these bytes can predict.

session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
labels, probabilities = session.run(None, {"X": X_test})
difference = np.abs(probabilities - mlp.predict_proba(X_test)).max()
print(f"{len(model):,} bytes of ONNX, accuracy {np.mean(labels == y_test):.4f}")
print(f"largest difference in probability: {difference:.1e}")
assert difference < 1e-5
