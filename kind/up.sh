#!/bin/sh
# A cluster on this machine, in Docker: Kubeflow Pipelines with its object store, KServe in mode Standard behind Envoy's
# gateway, Prometheus. `make kind`; again it changes nothing, or goes on where it was stopped. `make kind-down` ends it.
set -eu
cd "$(dirname "$0")/.."

# Versions, and what names each. What is installed together is what KServe installs together for its own tests.
NAME=graphmill
# the image: the release notes of kind v0.33.0
NODE=kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d
KUBEFLOW=2.17.0       # kfp in requirements.lock: what the pipelines are compiled with
KSERVE=v0.21.0        # kserve in requirements-serve.lock: what the predictor speaks
CERT_MANAGER=v1.17.0  # kserve-deps.env of KServe
ENVOY_GATEWAY=v1.7.0  # kserve-deps.env of KServe; the chart brings the Gateway API along
PROMETHEUS=83.4.0     # kserve-deps.env of KServe: the chart kube-prometheus-stack

say() { echo "make kind: $*"; }
fail() {
    echo "make kind: $*" >&2
    exit 2
}
cluster() { kubectl --context "kind-$NAME" "$@"; }
chart() { helm --kube-context "kind-$NAME" upgrade --install --create-namespace --wait --timeout 15m "$@"; }
written() { cluster apply --server-side --force-conflicts "$@"; }
pipelines() { written -k "github.com/kubeflow/pipelines/manifests/kustomize/$1?ref=$KUBEFLOW"; }
ready() { cluster -n "$1" rollout status "deployment/$2" --timeout 15m; }

for tool in docker kind kubectl helm git; do
    command -v "$tool" > /dev/null || fail "$tool is not installed here"
done
docker info > /dev/null 2>&1 || fail "no Docker engine answers; start one (\`docker info\` tells what is wrong)"

if kind get clusters 2> /dev/null | grep -qx "$NAME"; then
    say "cluster $NAME is there"
else
    kind create cluster --name "$NAME" --image "$NODE" --wait 5m
fi

say "cert-manager $CERT_MANAGER"
written -f "https://github.com/cert-manager/cert-manager/releases/download/$CERT_MANAGER/cert-manager.yaml"
ready cert-manager cert-manager-webhook

say "Prometheus, chart $PROMETHEUS"
chart prometheus oci://ghcr.io/prometheus-community/charts/kube-prometheus-stack --version "$PROMETHEUS" -n monitoring \
    --set grafana.enabled=false --set alertmanager.enabled=false --set nodeExporter.enabled=false \
    --set prometheus.prometheusSpec.podMonitorSelectorNilUsesHelmValues=false \
    --set prometheus.prometheusSpec.ruleSelectorNilUsesHelmValues=false

say "Envoy Gateway $ENVOY_GATEWAY"
chart eg oci://docker.io/envoyproxy/gateway-helm --version "$ENVOY_GATEWAY" -n envoy-gateway-system

say "KServe $KSERVE"
chart kserve-crd oci://ghcr.io/kserve/charts/kserve-crd --version "$KSERVE" -n kserve
chart kserve oci://ghcr.io/kserve/charts/kserve-resources --version "$KSERVE" -n kserve \
    --set kserve.controller.deploymentMode=Standard \
    --set kserve.controller.gateway.disableIstioVirtualHost=true \
    --set kserve.controller.gateway.ingressGateway.enableGatewayApi=true \
    --set kserve.controller.gateway.ingressGateway.kserveGateway=kserve/kserve-ingress-gateway \
    --set kserve.service.serviceClusterIPNone=false
cluster apply -f kind/gateway.yaml
cluster -n kserve wait gateway/kserve-ingress-gateway --for=condition=Programmed --timeout 10m

say "Kubeflow Pipelines $KUBEFLOW, with the object store that it ships (SeaweedFS, which speaks S3)"
pipelines cluster-scoped-resources
cluster wait crd/workflows.argoproj.io crd/scheduledworkflows.kubeflow.org --for=condition=established --timeout 2m
pipelines env/platform-agnostic
for deployment in ml-pipeline ml-pipeline-ui seaweedfs workflow-controller; do
    ready kubeflow "$deployment"
done

tag=$(python -c "from components.image import TAG; print(TAG)")
for image in "graphmill-stage:$tag" "graphmill-serve:$tag"; do
    if docker image inspect "$image" > /dev/null 2>&1; then
        kind load docker-image "$image" --name "$NAME"
    else
        say "there is no image $image yet: make images, then make kind once more"
    fi
done
say "context kind-$NAME is ready; go on with docs/cluster.md#6-namespace-accounts-rights, in namespace kubeflow"
