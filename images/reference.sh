#!/bin/sh
# Name the images of this source by their digests, once their signature is checked: `make image-reference`.
# IMAGES names the place, SIGNER the workflow that must have signed them. In a job it sets GRAPHMILL_IMAGE and SERVE_IMAGE.
set -eu
cd "$(dirname "$0")/.."

: "${IMAGES:?name the place of the images, as IMAGES=ghcr.io/team/}"
: "${SIGNER:?name who must have signed them, as SIGNER=https://github.com/OWNER/NAME/.github/workflows/images.yml@refs/heads/main}"
tag=$(python -c "from components.image import TAG; print(TAG)")
minutes=${WAIT_MINUTES:-0}

reference() {
    left=$minutes
    until digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1:$tag"); do
        if [ "$left" -le 0 ]; then
            echo "make image-reference: no image $1:$tag; has the workflow \`images\` published this source?" >&2
            exit 1
        fi
        left=$((left - 1))
        sleep 60
    done
    cosign verify --certificate-oidc-issuer https://token.actions.githubusercontent.com \
        --certificate-identity "$SIGNER" "$1@$digest" > /dev/null
    echo "$2=$1@$digest"
    if [ -n "${GITHUB_ENV:-}" ]; then
        echo "$2=$1@$digest" >> "$GITHUB_ENV"
    fi
}

reference "${IMAGES}graphmill-stage" GRAPHMILL_IMAGE
reference "${IMAGES}graphmill-serve" SERVE_IMAGE
