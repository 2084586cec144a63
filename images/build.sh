#!/bin/sh
# Build both images with Docker: `make images`. IMAGES is put before their names: `IMAGES=registry.example/team/`.
set -eu
cd "$(dirname "$0")/.."

if ! docker info > /dev/null 2>&1; then
    echo "make images: no Docker engine answers; install or start one (\`docker info\` tells what is wrong)" >&2
    exit 2
fi
tag=$(python -c "from components.image import TAG; print(TAG)")
revision=$(git rev-parse HEAD)
# a revision that does not hold what was built must not claim it
[ -z "$(git status --porcelain -- graphmill components pipelines manifests images Dockerfile pyproject.toml params.yaml)" ] || revision=$revision-modified

for target in stage serve; do
    docker build --target "$target" --tag "${IMAGES:-}graphmill-$target:$tag" \
        --build-arg GRAPHMILL_VERSION="${tag%%-*}" \
        --build-arg GRAPHMILL_REVISION="$revision" \
        --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" .
    echo "${IMAGES:-}graphmill-$target:$tag"
done
