"""The API server, and whether it knows every kind of the release."""

from collections.abc import Iterator

from automation.doctor import versions
from automation.doctor.door import Door
from automation.doctor.finding import Answer, missing, ok, warning
from automation.doctor.wanted import Wanted

MAKERS = {
    "serving.kserve.io": "install KServe (docs/cluster.md#4-kserve)",
    "monitoring.coreos.com": "install the Prometheus operator (docs/cluster.md#5-prometheus)",
}
"""Who brings kinds that Kubernetes has not, by their group."""


def server(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether it answers, and how old it is."""
    found = str((door.get("/version") or {}).get("gitVersion", ""))
    version, least = versions.parse(found), versions.text(versions.KUBERNETES)
    told = f"Kubernetes {found or 'of an unknown version'} at {door.host}"
    if version is not None and version < versions.KUBERNETES:
        yield missing(told, f"KServe asks for {least} or newer: update the cluster")
    elif version is None:
        yield warning(told, f"KServe asks for {least} or newer: see `kubectl version`")
    else:
        yield ok(told)


def kinds(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether what is applied can be applied."""
    for version, names in sorted(wanted.kinds().items()):
        known = door.kinds(version) or {}
        lacking = sorted(names - known.keys())
        if lacking:
            maker = MAKERS.get(version.partition("/")[0], "update the cluster")
            yield missing(f"{version} has no {', '.join(lacking)}", maker)
        elif "." in version.partition("/")[0] and not version.partition("/")[0].endswith(".k8s.io"):
            yield ok(f"{version}: {', '.join(sorted(names))}")
