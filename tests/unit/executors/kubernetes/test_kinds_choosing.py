"""Which kind a task becomes in a cluster, by what its API server serves."""

from dataclasses import replace

import pytest

from clusterobjects import order
from odin.executors.kubernetes.kinds.gang import GANG
from odin.executors.kubernetes.kinds.jobset import JOBSET, JOBSET_API, RUNTIME_API, TRAINJOB, TRAINJOB_API
from odin.executors.kubernetes.kinds.kubeflow import ELASTIC, MPI, MPI_API, MPI_V1_API, PYTORCH, PYTORCH_API
from odin.executors.kubernetes.kinds.table import KINDS, ROWS, Served, candidates, choose, known
from odin.model.errors import NotSupported, Unavailable

BARE = (("", "v1", "pods"), ("batch", "v1", "jobs"))
TRAINER = (TRAINJOB_API, RUNTIME_API, JOBSET_API)


def served(*apis, version=(1, 33)) -> Served:
    return Served(frozenset((*BARE, *((api.group, api.version, api.plural) for api in apis))), version)


EVERYTHING = served(*(api for row in ROWS for api in (*row.apis, *row.needs)))


def refusal(resource_type, *apis, **fields) -> str:
    with pytest.raises(NotSupported) as raised:
        choose(resource_type, served(*apis), **fields)
    return str(raised.value)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_that_is_served_is_taken_as_it_is(name):
    chosen = choose(name, EVERYTHING, translate=True)
    assert (chosen.kind, chosen.api) == (KINDS[name], KINDS[name].apis[0])
    assert chosen.said == ("ElasticJob runs as an elastic PyTorchJob" if name == "ElasticJob" else "")


@pytest.mark.parametrize("name", ["Pod", "Job", "gang"])
def test_a_bare_cluster_has_what_needs_no_operator(name):
    assert choose(name, served()).kind.name == name


def test_a_gang_needs_jobs_that_have_an_index():
    assert choose("gang", served(version=(1, 22))).kind is GANG
    with pytest.raises(NotSupported, match=r"resource_type gang .* Indexed Jobs: Kubernetes 1\.22 or newer"):
        choose("gang", served(version=(1, 21)))


@pytest.mark.parametrize(("apis", "api"), [((MPI_V1_API,), MPI_V1_API), ((MPI_API,), MPI_API)])
def test_an_mpi_job_is_of_the_version_that_is_served(apis, api):
    chosen = choose("MPIJob", served(*apis))
    assert (chosen.kind, chosen.api, chosen.said) == (MPI, api, "")


def test_an_elastic_job_is_always_a_pytorch_job():
    chosen = choose("ElasticJob", served(PYTORCH_API))
    assert (chosen.kind, chosen.api) == (ELASTIC, PYTORCH_API)
    assert "elastic PyTorchJob: install" in refusal("ElasticJob", *TRAINER, translate=True)


@pytest.mark.parametrize(
    ("apis", "kind"), [((*TRAINER,), TRAINJOB), ((JOBSET_API,), JOBSET), ((TRAINJOB_API,), GANG), ((), GANG)]
)
def test_a_pytorch_job_becomes_the_nearest_kind_that_is_served(apis, kind):
    chosen = choose("PyTorchJob", served(*apis), translate=True)
    assert chosen.kind is kind
    assert chosen.said == f"this cluster does not serve PyTorchJob; it runs as {kind.name}"


def test_a_tf_job_becomes_a_gang():
    assert choose("TFJob", served(*TRAINER), translate=True).kind is GANG


def test_f37_a_kind_that_is_not_served_is_refused_with_what_to_install():
    assert refusal("PyTorchJob") == (
        "this cluster does not serve resource_type PyTorchJob (pytorchjobs of kubeflow.org/v1); "
        "install Kubeflow's training operator 1.9, or write translate: true to run it as gang"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MPIJob", "mpijobs of kubeflow.org/v2beta1); install Kubeflow's MPI operator"),
        ("TrainJob", "trainjobs of trainer.kubeflow.org/v1alpha1, trainingruntimes"),
        ("TrainJob", "install Kubeflow Trainer 2"),
        ("JobSet", "install JobSet"),
        ("RayJob", "rayjobs of ray.io/v1); install KubeRay"),
    ],
)
@pytest.mark.parametrize("translate", [True, False])
def test_f37_what_has_nothing_near_is_refused_with_or_without_translation(name, words, translate):
    said = refusal(name, translate=translate)
    assert words in said
    assert "translate: true" not in said


def test_a_train_job_needs_the_runtimes_and_job_sets_too():
    assert "install Kubeflow Trainer" in refusal("TrainJob", TRAINJOB_API, JOBSET_API)


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: f"{kind.name}-{kind.apis[0].plural}")
def test_the_row_of_an_object_is_known_from_the_object(kind):
    assert known(kind.build(order(kind))[-1]) is kind


def test_what_is_no_top_object_has_no_row():
    assert known({"kind": "Service"}) is None


def test_a_pytorch_job_without_an_elastic_policy_has_a_master():
    assert known({"kind": "PyTorchJob", "spec": {}}) is PYTORCH


def test_while_a_group_does_not_answer_nothing_is_said_of_its_kinds_and_all_of_others():
    half = replace(served(PYTORCH_API), silent={"kubeflow.org": "no endpoints", "jobset.x-k8s.io": "no endpoints"})
    assert choose("Pod", half).kind.name == "Pod"
    assert choose("PyTorchJob", half).kind is PYTORCH, "known from before"
    for name in ("MPIJob", "JobSet", "TrainJob"):
        with pytest.raises(Unavailable, match="is not known now: no endpoints"):
            choose(name, half, translate=True)
    with pytest.raises(NotSupported):
        choose("RayJob", half)


def test_what_the_object_of_a_task_may_be_has_what_it_is_translated_to():
    assert [api.plural for api in candidates("Pod")] == ["pods"]
    assert [api.plural for api in candidates("PyTorchJob")] == ["pytorchjobs", "trainjobs", "jobsets", "jobs"]
