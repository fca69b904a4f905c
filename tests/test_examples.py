"""The examples, run as programs, small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

SMALL = {  # file: arguments, what it prints, what it writes
    "plot_digits_grid_search.py": (
        ["--epochs", "20", "--seeds", "1"],
        ["the notebook's own figures", "0.599484", "textbook softmax, refit"],
        ["digits_accuracy_by_alpha.png", "digits_loss_by_epoch.png"],
    ),
    "plot_loss_curves.py": ([], ["100 epochs"], ["loss_curves.png"]),
    "out_of_core.py": (
        ["--samples", "120000", "--block", "3000", "--epochs", "2", "--limit", "44"],
        ["MemoryError, as it should", "all in memory it is"],
        [],
    ),
    "export_onnx.py": ([], ["largest difference in probability"], []),
    "distributed_search.py": (
        ["--max-iter", "5", "--passes", "5"],
        ["best weights are equal", "pass 5"],
        [],
    ),
    "benchmark.py": (
        ["--only", "batch200,predict1", "--rounds", "1", "--small"],
        ["MLPClassifier", "predict1"],
        [],
    ),
    "benchmark_accuracy.py": (
        ["--sets", "iris", "--each", "--jobs", "1"],
        ["MomentumMLP", "iris"],
        ["accuracy_by_data_set.png"],
    ),
}
NEEDS = {
    "export_onnx.py": ["skl2onnx", "onnxruntime"],
    "distributed_search.py": ["distributed", "dask_ml"],
}


@pytest.mark.timeout(300)
@pytest.mark.skipif(not EXAMPLES.exists(), reason="run without the examples")
@pytest.mark.parametrize("name", SMALL)
def test_example(name, tmp_path):
    for module in NEEDS.get(name, []):
        pytest.importorskip(module)
    arguments, said, written = SMALL[name]
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for words in said:
        assert words in done.stdout
    for file in written:
        assert (tmp_path / file).stat().st_size > 5_000
