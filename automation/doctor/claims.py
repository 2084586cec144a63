"""Claims: whether they are there, of the right access mode, and what would make them."""

from collections.abc import Iterator

from automation.doctor.door import Door, Object
from automation.doctor.finding import Answer, missing, ok, warning
from automation.doctor.wanted import PREPARE, Wanted

STORAGE = "storage.k8s.io/v1"
DEFAULT = "storageclass.kubernetes.io/is-default-class"
SHARED = "ReadWriteMany"
ONE_NODE = (
    "ebs.csi.aws.com", "pd.csi.storage.gke.io", "disk.csi.azure.com", "rancher.io/local-path",
    "csi.vsphere.vmware.com", "cinder.csi.openstack.org", "dobs.csi.digitalocean.com", "csi.hetzner.cloud",
)  # fmt: skip
"""Provisioners of volumes with a file system that one node at a time may write."""
MANY_NODES = (
    "efs.csi.aws.com", "fsx.csi.aws.com", "filestore.csi.storage.gke.io", "file.csi.azure.com", "nfs.csi.k8s.io",
    "cephfs.csi.ceph.com", "rook-ceph.cephfs.csi.ceph.com", "driver.longhorn.io",
)  # fmt: skip
"""Provisioners of volumes that many may."""


def claims(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Each claim that pods mount."""
    lacking: list[set[str]] = []
    for (place, name), modes in wanted.claims().items():
        found = door.object("persistentvolumeclaims", name, place)
        if found is None:
            lacking.append(modes)
            ours = place == wanted.namespace and name in wanted.objects.names("PersistentVolumeClaim")
            told = f"no PersistentVolumeClaim {name} in namespace {place}"
            yield missing(
                told, PREPARE if ours else f"make it, {min(modes, default=SHARED)} (docs/cluster.md#7-volumes)"
            )
        else:
            yield _claim(found, name, place, modes)
    if lacking:
        yield _class(door, SHARED if any(SHARED in modes or not modes for modes in lacking) else "ReadWriteOnce")


def _claim(found: Object, name: str, place: str, modes: set[str]) -> Answer:
    has = set(found["spec"]["accessModes"])
    phase = found.get("status", {}).get("phase", "Pending")
    told = f"claim {name} in namespace {place}: {phase}, {', '.join(sorted(has))}"
    if modes - has:
        again = "its modes cannot be changed: copy what it holds, delete it, make it anew (docs/cluster.md#7-volumes)"
        return missing(f"{told}, and not {', '.join(sorted(modes - has))}", again)
    if phase == "Lost":
        return missing(told, f"its volume is gone: kubectl -n {place} describe pvc {name}")
    if phase != "Bound":
        return warning(told, f"unless it waits for its first pod: kubectl -n {place} describe pvc {name}")
    return ok(told)


def _class(door: Door, mode: str) -> Answer:
    """Whether the default class can make what is lacking; a class does not tell its modes, its provisioner does."""
    found = (door.get(f"/apis/{STORAGE}/storageclasses") or {}).get("items", [])
    default = [one for one in found if (one["metadata"].get("annotations") or {}).get(DEFAULT) == "true"]
    if not default:
        names = ", ".join(one["metadata"]["name"] for one in found) or "none at all"
        told = f"no default StorageClass; there are: {names}"
        return missing(told, "name one in the claims, as storageClassName (docs/cluster.md#7-volumes)")
    name, provisioner = default[0]["metadata"]["name"], default[0]["provisioner"]
    told = f"default StorageClass {name} ({provisioner})"
    if mode != SHARED or provisioner in MANY_NODES:
        return ok(f"{told} makes {mode}")
    if provisioner in ONE_NODE:
        return missing(f"{told} makes no {SHARED}", "name a shared class in the claims (docs/cluster.md#7-volumes)")
    return warning(f"{told} does not tell whether it makes {SHARED}", "see its documentation")
