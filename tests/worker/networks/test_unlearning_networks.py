"""Every network on the allow-list is split into features and classifier, and the method runs on every kind of them."""

import dataclasses

import pytest
import torch

from service.registry.models.architectures import Architecture, manifest, names
from worker.networks.architectures import build
from worker.unlearning import DEFAULT, Batch, SplitClassifier, all_finite, unlearn
from worker.unlearning.frozen_trunk import training_the_last

KINDS = ["torchvision/resnet18", "torchvision/mobilenet_v3_small", "timm/convnext_nano", "timm/vit_tiny_patch16_224"]
SHORT = dataclasses.replace(
    DEFAULT,
    max_steps=2,
    settling=2,
    check_every=1,
    mixup=8,
    cutmix=8,
    bent=8,
    inverted=8,
    inversion_iterations=2,
    importance_images=8,
    surrogate_batch=8,
)


def classifier(name: str) -> tuple[SplitClassifier, int]:
    """The network with random weights for five classes, and the smallest image that it takes."""
    side = max(manifest()[name].least, 32)
    network = build(Architecture(name=name), num_classes=5, image_size=(side, side))
    return SplitClassifier(network, mean=[0.5] * 3, std=[0.5] * 3).eval(), side


@pytest.mark.parametrize("name", names())
def test_logits_are_the_head_of_the_features(name: str) -> None:
    torch.manual_seed(0)
    model, side = classifier(name)
    with torch.no_grad():
        features, logits = model.split(torch.rand(2, 3, side, side))
        assert logits.shape == (2, 5)
        assert torch.allclose(model.head(features), logits, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_the_method_changes_the_last_part_of_any_kind_of_network(name: str) -> None:
    torch.manual_seed(0)
    model, side = classifier(name)
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    forget = Batch(images, model(images).argmax(1).detach())
    before = {key: tensor.clone() for key, tensor in model.named_parameters()}
    *_, last = unlearn(model, forget, anchors=None, config=SHORT, rng=torch.Generator().manual_seed(0))
    assert last.step > 0
    assert all_finite(model)
    changed = {key for key, tensor in model.named_parameters() if not torch.equal(tensor, before[key])}
    with training_the_last(model, share=DEFAULT.trained):
        trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert changed <= trained
    assert len(changed) > 0.9 * len(trained)
