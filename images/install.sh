#!/bin/sh
# Install requirement files with digests, or the package in this folder, into /opt/graphmill.
# `sh images/install.sh -r FILE...` or `sh images/install.sh .`
set -eu
target=${GRAPHMILL_PREFIX:-/opt/graphmill}
wheels=$(mktemp -d)

# wheels first: what has none is built by the setuptools of this image, so that nothing unchecked is fetched to build it
if [ "$1" = "-r" ]; then
    checked=--require-hashes
    folders=.
else
    checked=--no-index
    folders=$(ls -d graphmill components pipelines 2> /dev/null || true)
fi
python -m pip wheel --quiet "$checked" --no-deps --no-build-isolation --wheel-dir "$wheels" "$@"
python -m pip --python "$target/bin/python" install --quiet --no-index --no-deps --no-compile "$wheels"/*.whl
rm -rf "$wheels" build ./*.egg-info

# bytecode that is read without a look at the source: the same bytes in every build, and a quick start where nothing can
# be written. Some packages carry files for newer Pythons, which do not compile; all of ours must.
cd "$target"/lib/python3*/site-packages
"$target/bin/python" -m compileall -qq -j 0 --invalidation-mode unchecked-hash $folders || [ "$1" = "-r" ]
