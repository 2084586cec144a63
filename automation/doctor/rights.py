"""Rights: of whoever applies a release, and of the accounts that its pods run as."""

from collections.abc import Iterator

from automation.doctor.door import Door, Forbidden
from automation.doctor.finding import Answer, missing, ok, warning
from automation.doctor.wanted import PREPARE, Right, Wanted

APPLY = ("get", "create", "patch")
"""What `kubectl apply` does with an object."""
FOLLOW = (
    Right("list", "", "pods"), Right("get", "", "pods/log"), Right("get", "batch", "jobs"),
    Right("get", "serving.kserve.io", "inferenceservices"),
)  # fmt: skip
"""What following a promotion and reading a failed step's log asks for."""
ACCESS = "docs/cluster.md#6-namespace-accounts-rights"


def rights(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether whoever asks may apply a release, and see what becomes of it."""
    place = wanted.namespace
    lacking: list[str] = []
    for version, kinds in sorted(wanted.kinds().items()):
        group = version.rpartition("/")[0]
        plurals = door.kinds(version) or {}
        for resource in sorted(plurals[kind] for kind in kinds if kind in plurals):
            if refused := [verb for verb in APPLY if not door.may(verb, group, resource, place)]:
                lacking.append(f"{'/'.join(refused)} {resource}")
    if lacking:
        told = f"you may not {', '.join(lacking)} in namespace {place}: you cannot apply a release"
        yield missing(told, f"let whoever may do it, or bind you to a role that may ({ACCESS})")
    else:
        yield ok(f"you may apply a release in namespace {place}")
    refused = [str(right) for right in FOLLOW if not door.may(right.verb, right.group, right.resource, place)]
    if refused:
        told = f"you may not {', '.join(refused)} in namespace {place}: no logs, no end of a promotion"
        yield warning(told, f"kubectl -n {place} create rolebinding view-me --clusterrole=view --user=you")


def accounts_rights(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether the accounts may what their pods do: each right of the roles in manifests/."""
    for (account, place), needed in _accounts(wanted).items():
        try:
            refused = [
                str(one) for one in needed if not door.may(one.verb, one.group, one.resource, place, one.name, account)
            ]
        except Forbidden:
            told = f"what {account} may do in namespace {place} you may not ask"
            yield warning(told, f"kubectl auth can-i --list -n {place} --as=system:serviceaccount:{place}:{account}")
            continue
        if refused:
            yield missing(f"{account} may not {', '.join(refused)}", PREPARE)
        else:
            yield ok(f"{account} may all {len(needed)} things that its pods do")


def _accounts(wanted: Wanted) -> dict[tuple[str, str], list[Right]]:
    """Accounts by name and namespace; whoever runs are submitted as needs what the manifests' own one has."""
    known = wanted.accounts()
    found = {(name, wanted.namespace): needed for name, needed in known.items() if needed}
    if (named := wanted.cluster.service_account) and named not in known:
        found[named, wanted.runs] = known[f"{wanted.deploy.name}-pipeline"]
    return found
