"""The whole method on real images and published weights, where they are at hand."""

import dataclasses

import torch

from tests import cifar10
from worker.cifar_resnet import cifar_resnet
from worker.unlearning import DEFAULT, Batch, SplitClassifier, accuracy, forget_accuracy, unlearn


def batch(images, labels):
    """uint8 (N, H, W, C) -> floats (N, C, H, W) in [0, 1]."""
    return Batch(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels))


@cifar10.needed
def test_sixteen_images_are_forgotten_and_the_test_accuracy_stays():
    network = cifar_resnet(20, 10)
    published = torch.load(cifar10.RESNET20, weights_only=True, map_location="cpu")
    weights = {name.removeprefix("module."): t for name, t in published["state_dict"].items()}
    network.load_state_dict(weights, strict=False)  # published before BatchNorm counted its batches
    model = SplitClassifier(network, mean=cifar10.MEAN, std=cifar10.STD).eval()
    forget, test = batch(*cifar10.forget_set(16, seed=102)), batch(*cifar10.first_test_images(2000))
    before = accuracy(model, test)
    config = dataclasses.replace(DEFAULT, mixup=768, cutmix=768, dead_leaves=512)  # half the pool, for speed
    list(unlearn(model, forget, anchors=None, config=config, rng=torch.Generator().manual_seed(102)))
    assert before > 91
    assert forget_accuracy(model, forget) == 100.0
    assert before - accuracy(model, test) <= 1.5
