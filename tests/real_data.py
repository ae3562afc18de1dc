"""Tests on real CIFAR-10, where it is."""

import pytest

from benchmarks import cifar10

needs_cifar10 = pytest.mark.skipif(
    not cifar10.RESNET20.exists(), reason=f"CIFAR-10 is not at {cifar10.DATA}; STRUCTGUARD_DATA says where"
)
