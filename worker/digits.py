"""A small classifier of handwritten digits with everything a deletion request needs, for the demo and the tests.

`python -m worker.digits OUT_DIR --seed 0` trains it in seconds, from the 1,797 images that come with scikit-learn,
and prints one JSON line with its accuracies. The images to forget become picture files, as a person would send them.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

from service.registry.models.architectures import STEP_COUNTER
from service.registry.models.preprocessing import Preprocessing
from worker.inputs.images import pixels
from worker.networks.cifar_resnet import cifar_resnet

SIDE = 8  # pixels, as the images come; enlarging them to 16 cost time and gained nothing
TEST, RETAINED, FORGOTTEN = 397, 500, 16  # images; the last two are among the 1,400 that are trained on
EPOCHS, BATCH = 20, 100
PEAK_RATE = 0.2  # learning rate at the middle of training, per batch
MOMENTUM = 0.9
DECAY = 5e-3  # weight decay; chosen while looking at what unlearning costs, so the demo illustrates and proves nothing


@dataclass(frozen=True)
class Split:
    """Images as uint8 (N, 8, 8) with their labels (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def take(self, index: np.ndarray) -> "Split":
        """The images at these indices."""
        return Split(self.images[index], self.labels[index])

    def save(self, target: Path) -> None:
        """Write them as an evaluation set: uint8 (N, 8, 8, 1) and integers (N,)."""
        np.savez(target, images=self.images[..., None], labels=self.labels)


def split(seed: int) -> tuple[Split, Split]:
    """The images in a fixed random order: those for training, and those for the test."""
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)  # they come as 0..16
    order = np.random.default_rng(seed).permutation(len(images))
    everything = Split(images, digits.target.astype(np.int64))
    return everything.take(order[TEST:]), everything.take(order[:TEST])


def statistics(train: Split) -> Preprocessing:
    """Preprocessing with the mean and standard deviation of the training images."""
    scaled = train.images / 255
    return Preprocessing(size=(SIDE, SIDE), mean=[round(scaled.mean(), 4)], std=[round(scaled.std(), 4)])


def inputs(images: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """uint8 (N, 8, 8) -> normalised (N, 1, 8, 8), by the code that the worker prepares images with."""
    batch = torch.stack([pixels(Image.fromarray(image), preprocessing) for image in images])
    return (batch - preprocessing.mean[0]) / preprocessing.std[0]


def train(x: Tensor, y: Tensor, *, seed: int) -> nn.Module:
    """A network trained to memorise these images: SGD with momentum and a learning rate that rises and falls."""
    torch.manual_seed(seed)
    network = cifar_resnet(8, num_classes=10, in_channels=1)
    parameters = list(network.parameters())
    # By hand, because constructing a torch optimiser imports the compiler: seconds that training itself does not take.
    velocities = [torch.zeros_like(p) for p in parameters]
    per_epoch = len(x) // BATCH
    steps = EPOCHS * per_epoch
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(x))
        batch = order[step % per_epoch * BATCH :][:BATCH]
        loss = F.cross_entropy(network(x[batch]), y[batch])
        gradients = torch.autograd.grad(loss, parameters)
        rate = PEAK_RATE * (1 - abs(2 * (step + 1) / (steps + 1) - 1))
        with torch.no_grad():
            for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True):
                velocity.mul_(MOMENTUM).add_(gradient + DECAY * parameter)
                parameter.sub_(rate * velocity)
    return network.eval()


def write(target: Path, seed: int) -> dict[str, float]:
    """Train, write model, sets and images to the folder; returns training and test accuracy in percent."""
    trained, tested = split(seed)
    preprocessing = statistics(trained)
    x, y = inputs(trained.images, preprocessing), torch.from_numpy(trained.labels)
    network = train(x, y, seed=seed)
    with torch.no_grad():
        correct = (network(x).argmax(1) == y).numpy()
        test_correct = network(inputs(tested.images, preprocessing)).argmax(1).numpy() == tested.labels

    target.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.contiguous() for name, tensor in network.state_dict().items() if not name.endswith(STEP_COUNTER)
    }
    save_file(state, target / "model.safetensors")
    tested.save(target / "test.npz")
    forgotten = np.flatnonzero(correct)[:FORGOTTEN]  # to misclassify what was never recognised proves nothing
    remaining = np.setdiff1d(np.arange(len(correct)), forgotten)
    trained.take(remaining[:RETAINED]).save(target / "retain.npz")
    _write_pictures(target / "forget", trained.take(forgotten))
    description = {
        "architecture": {"name": "cifar_resnet8", "in_channels": 1},
        "classes": [str(digit) for digit in range(10)],
        "preprocessing": preprocessing.model_dump(mode="json"),
    }
    (target / "model.json").write_text(json.dumps(description, indent=2) + "\n")
    return {"train_accuracy": 100 * float(correct.mean()), "test_accuracy": 100 * float(test_correct.mean())}


def _write_pictures(folder: Path, split: Split) -> None:
    """`00.png`, `01.png`, … and `labels.json`, their labels in that order."""
    folder.mkdir(exist_ok=True)
    for position, image in enumerate(split.images):
        Image.fromarray(image).save(folder / f"{position:02d}.png")
    (folder / "labels.json").write_text(json.dumps(split.labels.tolist()) + "\n")


def main() -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m worker.digits", description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the network is so small that a second thread only waits for the first
    print(json.dumps(write(arguments.out_dir, arguments.seed)))  # noqa: T201  (its answer)


if __name__ == "__main__":
    main()
