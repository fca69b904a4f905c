#!/usr/bin/env bash
# Builds virtual environments and runs the test suite in each:
#   bash tests/environments.sh                  the newest and the oldest supported
#   bash tests/environments.sh oldest           one of them
# They are made in $SKMLP_ENVIRONMENTS, by default a temporary folder that is removed.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${SKMLP_ENVIRONMENTS:-}" ]; then
  folder=$SKMLP_ENVIRONMENTS
else
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi
for name in "${@:-newest oldest}"; do
  for environment in $name; do
    echo "== $environment"
    python3 -m venv "$folder/$environment"
    python=$folder/$environment/bin/python
    case $environment in
      newest) "$python" -m pip install -q --upgrade ".[test]" ;;
      oldest) "$python" -m pip install -q ".[test]" -r tests/oldest.txt ;;
      *) echo "unknown environment: $environment" >&2; exit 2 ;;
    esac
    "$python" -c "import sklearn, numpy; print('scikit-learn', sklearn.__version__, 'numpy', numpy.__version__)"
    "$python" -m pytest -q
  done
done
