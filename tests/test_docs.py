"""What the documentation says: its form, its examples, its table of parameters."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from types import FunctionType

import pytest

import skmlp
from skmlp import MomentumMLPClassifier

README = Path(__file__).parent.parent / "README.md"
readme_is_here = pytest.mark.skipif(not README.exists(), reason="run without README")

PUBLIC = [
    *skmlp.__all__,
    *(
        f"{name}.{method}"
        for name in skmlp.__all__
        for method, what in vars(getattr(skmlp, name)).items()
        if isinstance(what, FunctionType | classmethod) and method[0] != "_"
    ),
]
# Not asked for: sections that most methods have no use for; and scikit-learn names
# what a method returns.
IGNORED = {"ES01", "SA01", "EX01", "RT02"}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_numpydoc(name):
    validate = pytest.importorskip("numpydoc.validate")
    errors = dict(validate.validate(f"skmlp.{name}")["errors"])
    assert errors.keys() <= IGNORED, errors


@pytest.mark.parametrize(
    "module", [info.name for info in pkgutil.iter_modules(skmlp.__path__)]
)
def test_docstring_examples(module):
    results = doctest.testmod(importlib.import_module(f"skmlp.{module}"))
    assert results.failed == 0


@readme_is_here
def test_readme_code_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 4
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["search"].best_score_ > 0.95
    assert names["chosen"].score(names["X_test"], names["y_test"]) > 0.97
    assert capsys.readouterr().out.startswith("0.97")
    assert names["mlp"].n_iter_ == 27
    assert names["mlp"].score(names["X_test"], names["y_test"]) > 0.85


@readme_is_here
def test_readme_names_every_parameter_with_its_default():
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", README.read_text(), flags=re.MULTILINE)
    table = {
        name: default
        for names, defaults in rows
        for name, default in zip(
            re.findall("`(.*?)`", names), re.findall("`(.*?)`", defaults), strict=False
        )
    }
    for name, default in MomentumMLPClassifier().get_params().items():
        assert table[name].replace('"', "'") == repr(default).replace('"', "'"), name
