#!/usr/bin/env bash
# Gather what a bare machine lacks, CPython 3.12 on x86-64 Linux, into wheels/ beside this script: all of wheels.txt, or
# only the packages that are given.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
most=57 # MiB: with the checkout itself, 64

platforms=()
for platform in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1; do
  platforms+=(--platform "${platform}_x86_64")
done
wanted=("$@")
(($#)) || wanted=(--requirement "$here/wheels.txt")
rm -rf -- "$here/wheels"
"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
  "${platforms[@]}" --dest "$here/wheels" "${wanted[@]}"
# pytorch-grad-cam comes as source only, in plain Python
(($#)) || "$python" -m pip wheel --quiet --no-deps --wheel-dir "$here/wheels" grad-cam

size=$(du --summarize --block-size=1M -- "$here/wheels" | cut -f1)
echo "$(find "$here/wheels" -name '*.whl' | wc -l) wheels, $size MiB"
if ((size > most)); then
  echo "more than $most MiB: take a group out of wheels.txt" >&2
  exit 1
fi
