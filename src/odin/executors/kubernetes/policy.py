"""Judges the finished object, whatever it was made from, at the one place where objects are sent.

Every pod in it, however deep, satisfies Pod Security baseline, restricted where the site says so; it uses what the
site lists; it claims no identity but its attempt's. What this module does not know it refuses.
Source: reliability.md, A-90 to A-95.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from odin.executors.kubernetes import allowances, podsecurity
from odin.executors.kubernetes.kind import Object
from odin.executors.kubernetes.kueue import QUEUE
from odin.executors.kubernetes.labels import FENCE, FINALIZER, IMAGE_TIMEOUT, LOST_AFTER, VOID
from odin.executors.kubernetes.podfields import METADATA, POD, misfits
from odin.executors.kubernetes.site import Site
from odin.executors.kubernetes.violations import Violation, inner, is_pod, survey
from odin.model.errors import Problem, ValidationFailed

__all__ = ["Violation", "judge", "refuse"]

CREATED: Final = frozenset(
    {
        *(("", "Pod"), ("", "Service"), ("", "ConfigMap"), ("", "Secret"), ("batch", "Job")),
        *(("kubeflow.org", kind) for kind in ("PyTorchJob", "TFJob", "MPIJob")),
        *(("trainer.kubeflow.org", kind) for kind in ("TrainJob", "TrainingRuntime")),
        *(("jobset.x-k8s.io", "JobSet"), ("ray.io", "RayJob"), ("elastic.pytorch.org", "ElasticJob")),
        ("scheduling.volcano.sh", "PodGroup"),
    }
)
DATA_ONLY: Final = frozenset({"ConfigMap", "Secret"})
PODLESS: Final = DATA_ONLY | {"Service", "PodGroup", "TrainJob"}
# Labels and annotations by which the kinds speak to the controllers that they are for.
SPOKEN: Final = frozenset(
    {
        *(QUEUE, "kueue.x-k8s.io/max-exec-time-seconds"),
        *("trainer.kubeflow.org/trainjob-ancestor-step", "scheduling.k8s.io/group-name"),
        "scheduling.volcano.sh/queue-name",
    }
)
# Fields of pods, in lower case: outside a whole pod spec they would change pods that nobody judged.
POD_ONLY: Final = frozenset(
    {
        *("hostpath", "hostnetwork", "hostpid", "hostipc", "hostusers", "hostport", "privileged", "securitycontext"),
        *("volumes", "volumemounts", "volumedevices", "volumeclaimtemplates", "imagepullsecrets", "envfrom"),
        *("serviceaccount", "serviceaccountname", "automountserviceaccounttoken", "tolerations", "nodeselector"),
        *("nodename", "affinity", "runtimeclassname", "schedulername", "podspecpatch", "podspecoverrides"),
        *("podtemplateoverrides", "runtimepatches", "clusterselector"),
    }
)
_SECRET_TYPES: Final = (None, "Opaque")


def judge(obj: Object, site: Site, marks: Mapping[str, str]) -> list[Violation]:
    """Everything that forbids sending this object; ``marks`` are the labels of Odin that it is to carry."""
    has_data = obj.get("kind") in DATA_ONLY
    pods, others = survey({"metadata": obj.get("metadata")} if has_data else obj)
    found = [*_object(obj, has_pods=bool(pods))]
    for path, node in others:
        found += _outside(node, path, site, marks)
    for path, pod in pods:
        found += misfits(pod, POD, path)
        found += podsecurity.judge(pod, path, restricted=site.is_restricted)
        found += allowances.judge(pod, path, site, marks)
    return found


def refuse(violations: Sequence[Violation], task: str = "") -> None:
    """Raise ValidationFailed with all of them, if there are any."""
    if violations:
        whose = f'task "{task}": ' if task else ""
        problems = [Problem(f"{whose}{one.rule}; {one.remedy}", path=one.field) for one in violations]
        raise ValidationFailed(str(problems[0]), problems=problems)


def _object(obj: Object, *, has_pods: bool) -> Iterator[Violation]:
    kind, group = str(obj.get("kind")), str(obj.get("apiVersion", "")).rpartition("/")[0]
    if (group, kind) not in CREATED:
        yield Violation("kind", f"{kind} of {group or 'the core'} is nothing that Odin creates", "use another kind")
    if kind not in PODLESS and not has_pods:
        yield Violation("spec", "no pod was found in it to be judged", "give it a pod template with containers")
    if kind == "Secret" and obj.get("type") not in _SECRET_TYPES:
        yield Violation("type", "such a secret speaks to controllers", "leave the type out")
    if kind == "Service":
        yield from _service(inner(obj, "spec"))


def _service(spec: Object) -> Iterator[Violation]:
    """A headless one, which gives the pods of one attempt names and opens nothing."""
    if spec.get("clusterIP") != "None" or spec.get("type", "ClusterIP") != "ClusterIP":
        yield Violation("spec.clusterIP", "a service that is more than names for pods", "set it to None")
    for field in ("externalIPs", "externalName", "loadBalancerIP"):
        if spec.get(field):
            yield Violation(f"spec.{field}", "a service that is more than names for pods", "remove it")
    if not any(key.startswith("odin/") for key in inner(spec, "selector")):
        yield Violation("spec.selector", "a service for other pods than the attempt's", "select by odin/task")


def _outside(node: Object, path: str, site: Site, marks: Mapping[str, str]) -> Iterator[Violation]:
    """What an object says that is in no pod: metadata, references, and what belongs into a pod."""
    at = f"{path}." if path else ""
    for field in node:
        if str(field).lower() in POD_ONLY:
            yield Violation(f"{at}{field}", "a pod's field outside a pod", "put it into the template")
    yield from allowances.judge_references(node, path, site, marks)
    if isinstance(node.get("metadata"), dict):
        yield from _metadata(node["metadata"], f"{at}metadata", site)
    yield from _label_faults(inner(node, "labels"), f"{at}labels", site, marks)
    yield from _annotation_faults(inner(node, "annotations"), f"{at}annotations", site)
    if not path or is_pod(node.get("spec")):
        for key in sorted(marks.keys() - inner(node, "metadata", "labels").keys()):
            yield Violation(
                f"{at}metadata.labels", f"the label {key} is missing, by which Odin knows its own", "add it"
            )


def _metadata(metadata: Object, path: str, site: Site) -> Iterator[Violation]:
    yield from misfits(metadata, METADATA, path)
    if metadata.get("namespace") not in (None, site.namespace):
        yield Violation(f"{path}.namespace", "another namespace than Odin's", f"leave it out, or say {site.namespace}")
    if metadata.get("ownerReferences"):
        yield Violation(f"{path}.ownerReferences", "an owner could delete what is Odin's", "remove it")
    for finalizer in metadata.get("finalizers") or ():
        if finalizer != FINALIZER or path != "metadata":
            yield Violation(f"{path}.finalizers", f'"{finalizer}" steers other controllers', "remove it")


def _label_faults(labels: Object, path: str, site: Site, marks: Mapping[str, str]) -> Iterator[Violation]:
    for key, value in labels.items():
        if key in marks:
            if value != marks[key]:
                yield Violation(f"{path}[{key}]", f'it claims to be "{value}"', f'it is "{marks[key]}"')
        elif key not in (*SPOKEN, VOID) and not site.lets_label(site.labels, key):
            yield _unlisted(path, key, "LABELS")


def _annotation_faults(annotations: Object, path: str, site: Site) -> Iterator[Violation]:
    yield from podsecurity.judge_annotations(annotations, path)
    for key in annotations:
        if key not in (*SPOKEN, FENCE, IMAGE_TIMEOUT, LOST_AFTER) and not site.lets_label(site.annotations, key):
            yield _unlisted(path, key, "ANNOTATIONS")


def _unlisted(path: str, key: str, setting: str) -> Violation:
    what = setting.removesuffix("S").lower()
    remedy = "remove it" if key.startswith("odin/") else f"remove it, or list it in ODIN_KUBERNETES_{setting}"
    return Violation(f"{path}[{key}]", f"the {what} may steer other controllers", remedy)
