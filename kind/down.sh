#!/bin/sh
# Remove the cluster of `make kind`, with all that is in it: `make kind-down`.
set -eu

for tool in docker kind; do
    command -v "$tool" > /dev/null || {
        echo "make kind-down: $tool is not installed here" >&2
        exit 2
    }
done
kind delete cluster --name graphmill
