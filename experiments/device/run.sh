#!/usr/bin/env bash
# Measure on this machine what vidcam promises; what its Python lacks comes from the wheels beside this script.
# Arguments go to measure.py: run.sh --device cpu --quick
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
python=${PYTHON:-python3}
out=${OUT:-$here/results}
site=$(mktemp -d)
trap 'rm -rf -- "$site"' EXIT

install() {
  "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
    --no-index --no-deps --upgrade --target "$site" "$@"
}

lacking=$("$python" "$here/lacking.py")
export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
if [[ -n $lacking ]]; then
  mapfile -t wheels <<<"$lacking"
  install "${wheels[@]}"
fi
install --no-build-isolation "$root"

status=0
"$python" "$here/measure.py" --output "$out" "$@" || status=$?
"$python" "$here/table.py" "$out/results.jsonl" | tee "$out/results.md"
exit "$status"
