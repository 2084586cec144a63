#!/bin/sh
# Write the digests of what the lock files name: `make locks`. The lock files are the source, these follow.
# Digests are PyPI's, of the files for every platform; torch is kept by hand in images/torch.txt.
set -eu
cd "$(dirname "$0")/.."

if ! command -v uv > /dev/null; then
    echo "make locks: uv is needed; \`pip install uv\`" >&2
    exit 2
fi
export UV_CUSTOM_COMPILE_COMMAND="make locks"
write() {
    uv --no-config pip compile --quiet --no-deps --universal --python-version 3.11 --generate-hashes --no-annotate \
        --upgrade --output-file "$@"
}
write images/serve.txt requirements-serve.lock
write images/stage.txt --no-emit-package torch requirements.lock
write images/build.txt images/build.in
