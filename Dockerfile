# Two images of one source: `stage` runs the steps of a pipeline, `serve` the predictor. `make images`; docs/images.md.

# The tag is for people; what is built on is the digest of its index of all platforms. docs/images.md renews both.
ARG BASE=docker.io/library/python:3.11.17-slim-bookworm@sha256:0a310eeecf4e1f5a0743f9a6520c90c88d089c903ca5fd283f501e3a805f5f89

# --- what both results stand on: nobody installs anything in them
FROM ${BASE} AS base
ARG SOURCE_DATE_EPOCH=0
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip setuptools wheel \
    && rm -rf "$(python -c 'import ensurepip; print(ensurepip.__path__[0])')" \
    && groupadd --gid 1000 graphmill \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /home/graphmill --shell /usr/sbin/nologin graphmill \
    # a cluster may choose any user id, which is then in group 0
    && install --directory --owner=1000 --group=0 --mode=0775 /home/graphmill
# one thread: two on a contended core cost forty times in latency, and stages have parameters for more
ENV PATH=/opt/graphmill/bin:$PATH \
    HOME=/home/graphmill \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    NUMBA_NUM_THREADS=1 \
    DVC_NO_ANALYTICS=1
WORKDIR /home/graphmill

# --- wheels are fetched and made here, each checked against the digests in images/
FROM ${BASE} AS build
ARG SOURCE_DATE_EPOCH=0
# an index of one's own in the place of PyPI; the digests are the same
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /source
COPY images/build.txt images/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install --quiet --require-hashes --no-deps -r images/build.txt \
    && python -m venv --without-pip /opt/graphmill
COPY images/install.sh images/

FROM build AS serve-packages
COPY images/serve.txt images/
RUN --mount=type=cache,target=/root/.cache/pip sh images/install.sh -r images/serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY graphmill graphmill
RUN sh images/install.sh .

FROM build AS stage-packages
COPY images/stage.txt images/torch.txt images/
RUN --mount=type=cache,target=/root/.cache/pip sh images/install.sh -r images/stage.txt -r images/torch.txt
COPY pyproject.toml README.md LICENSE ./
COPY graphmill graphmill
COPY components components
COPY pipelines pipelines
RUN sh images/install.sh .

# --- the steps of a pipeline
FROM base AS stage
# git: data of a revision, and lineage; libgomp: LightGBM. Debian's fixes are wanted, so no versions.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git libgomp1 \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache
COPY --from=stage-packages /opt/graphmill /opt/graphmill
# what `deploy` makes a release of, and the numbers that nobody gave
COPY manifests /opt/graphmill/manifests
COPY params.yaml /opt/graphmill/
ENV GRAPHMILL_MANIFESTS=/opt/graphmill/manifests \
    GRAPHMILL_PARAMS=/opt/graphmill/params.yaml
ARG BASE
ARG GRAPHMILL_VERSION=0
ARG GRAPHMILL_REVISION=""
ENV GRAPHMILL_REVISION=${GRAPHMILL_REVISION}
LABEL org.opencontainers.image.title="graphmill-stage" \
      org.opencontainers.image.description="Steps of graphmill's pipelines" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${GRAPHMILL_VERSION}" \
      org.opencontainers.image.revision="${GRAPHMILL_REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
USER 1000:1000
CMD ["python", "-m", "components", "--help"]

# --- a small model and graph, made by the steps, over which the predictor's kernels are compiled
FROM stage AS sample
COPY images/sample.py ./
RUN python sample.py /tmp/sample

FROM serve-packages AS kernels
ENV GRAPHMILL_KERNELS=/opt/graphmill/kernels \
    NUMBA_CACHE_DIR=/opt/graphmill/kernels \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1
COPY --from=sample /tmp/sample /tmp/sample
RUN /opt/graphmill/bin/python -m graphmill.serving.kernels --model /tmp/sample/artifacts/model \
    --graph /tmp/sample/artifacts --hidden /tmp/sample/int8 /tmp/sample/float32

# --- the predictor
FROM base AS serve
COPY --from=kernels /opt/graphmill /opt/graphmill
ENV GRAPHMILL_KERNELS=/opt/graphmill/kernels
ARG BASE
ARG GRAPHMILL_VERSION=0
ARG GRAPHMILL_REVISION=""
ENV GRAPHMILL_REVISION=${GRAPHMILL_REVISION}
LABEL org.opencontainers.image.title="graphmill-serve" \
      org.opencontainers.image.description="graphmill's predictor" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${GRAPHMILL_VERSION}" \
      org.opencontainers.image.revision="${GRAPHMILL_REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
EXPOSE 8080 8081
# ready is when the model and the graph are loaded and the kernels compiled; KServe's own probes are in the manifests
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/v2/health/ready', timeout=2)"]
USER 1000:1000
ENTRYPOINT ["python", "-m", "graphmill.serving"]
