"""``python -m automation doctor``: has a cluster all that training, serving and a rollout need?

Every check asks and none changes anything. What is needed is read from the parameters and from the very manifests that
a release is made of, so that no second list of it can be out of date.
"""

from collections.abc import Iterator

from automation.doctor.claims import claims
from automation.doctor.door import Door, Forbidden
from automation.doctor.finding import Check, Found
from automation.doctor.kserve import kserve, mode
from automation.doctor.kubeflow import pipelines, runs, store
from automation.doctor.place import accounts, images, namespace, secrets
from automation.doctor.rights import accounts_rights, rights
from automation.doctor.server import kinds, server
from automation.doctor.trainer import trainer
from automation.doctor.wanted import Wanted

CHECKS: dict[str, Check] = {
    "API server": server,
    "Kubeflow Pipelines": pipelines,
    "KServe": kserve,
    "traffic": mode,
    "kinds": kinds,
    "namespace": namespace,
    "runs": runs,
    "object store": store,
    "accounts": accounts,
    "rights": rights,
    "accounts' rights": accounts_rights,
    "secrets": secrets,
    "several machines": trainer,
    "images": images,
    "volumes": claims,
}
"""What is asked, in the order in which a cluster is built."""


def examine(door: Door, wanted: Wanted) -> Iterator[Found]:
    """Ask a cluster everything.

    Raises:
        UserError: when it does not answer, or does not know who asks.
    """
    for title, check in CHECKS.items():
        try:
            for answer in check(door, wanted):
                yield Found(title, *answer)
        except Forbidden as error:
            yield Found(title, "warning", f"you {error}", "ask again as somebody who may")
