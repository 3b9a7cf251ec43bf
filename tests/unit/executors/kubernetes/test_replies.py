"""What an API server's refusals mean."""

from __future__ import annotations

import pytest

from odin.executors.kubernetes.replies import Forbidden, OverQuota, Refused, fault

RIGHTS = 'pods is forbidden: User "system:serviceaccount:a:odin" cannot create resource "pods" in API group ""'


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ('pods "a" is forbidden: exceeded quota: few, requested: pods=1, used: pods=3, limited: pods=3', OverQuota),
        ('pods "a" is forbidden: status unknown for quota: few, resources: pods', OverQuota),
        ('pods "a" is forbidden: failed quota: few: must specify cpu', Refused),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest"', Refused),
        (RIGHTS, Forbidden),
    ],
)
def test_f26_a_403_is_told_apart_by_its_words(words: str, meant: type) -> None:
    assert type(fault(403, "Forbidden", words)) is meant
