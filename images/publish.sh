#!/bin/sh
# Build both images, push them by digest, and let them be found only when they are clean: `make publish-images`.
# IMAGES names the place: `IMAGES=ghcr.io/team/`. The tag, by which `make image-reference` finds them, comes last.
set -eu
cd "$(dirname "$0")/.."

: "${IMAGES:?name the place of the images, as IMAGES=ghcr.io/team/}"
severity=${SCAN_FAILS_AT:-critical}
output=${OUTPUT:-compiled/images}
for tool in docker syft grype cosign; do
    if ! command -v "$tool" > /dev/null; then
        echo "make publish-images: $tool is not installed here; docs/github.md names where each comes from" >&2
        exit 2
    fi
done
tag=$(python -c "from components.image import TAG; print(TAG)")
revision=$(git rev-parse HEAD)
if [ -n "$(git status --porcelain -- graphmill components pipelines manifests images Dockerfile pyproject.toml params.yaml)" ]; then
    echo "make publish-images: the source is not as committed; what is published must be found in the history" >&2
    exit 2
fi
mkdir -p "$output"

for target in stage serve; do
    name=${IMAGES}graphmill-$target
    if digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$name:$tag" 2> /dev/null); then
        echo "$name:$tag is there: $digest"
    else
        docker buildx build --target "$target" \
            --build-arg GRAPHMILL_VERSION="${tag%%-*}" \
            --build-arg GRAPHMILL_REVISION="$revision" \
            --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" \
            --provenance=mode=max \
            --output "type=image,name=$name,push-by-digest=true,name-canonical=true,push=true" \
            --metadata-file "$output/$target.metadata.json" .
        digest=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["containerimage.digest"])' \
            "$output/$target.metadata.json")
        # what is in it, is it known to be broken, and who says so; a failure leaves a digest that nothing names
        syft scan "registry:$name@$digest" --output "spdx-json=$output/$target.spdx.json"
        grype "sbom:$output/$target.spdx.json" --fail-on "$severity" --only-fixed --output table
        cosign sign --yes "$name@$digest"
        cosign attest --yes --type spdxjson --predicate "$output/$target.spdx.json" "$name@$digest"
        docker buildx imagetools create --prefer-index=false --tag "$name:$tag" "$name@$digest"
    fi
    echo "$target=$name@$digest"
    if [ -n "${GITHUB_OUTPUT:-}" ]; then
        echo "$target=$name@$digest" >> "$GITHUB_OUTPUT"
    fi
done
