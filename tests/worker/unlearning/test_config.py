from dataclasses import replace

from worker.unlearning import DEFAULT, PAPER

SMALL = replace(DEFAULT, grows_beyond=16, mixup=100, cutmix=10, bent=20, inverted=0, surrogate_batch=32)


def test_four_times_the_images_get_twice_the_surrogates():
    sized = SMALL.sized(64)
    assert (sized.mixup, sized.cutmix, sized.bent, sized.inverted, sized.surrogate_batch) == (200, 20, 40, 0, 64)


def test_few_images_get_what_is_written_and_the_published_method_always_does():
    assert SMALL.sized(16) == SMALL
    assert PAPER.sized(1024) == PAPER


def test_the_gentler_way_is_longer_and_is_the_last():
    gentler = replace(SMALL, deletion_weight=8.0, margin=1.0, lr=2e-3, settling=200, max_churn=0.05).gentler()
    assert (gentler.deletion_weight, gentler.margin, gentler.lr, gentler.settling) == (2.0, 0.3, 5e-3, 400)
    assert gentler.max_churn == 1.0
