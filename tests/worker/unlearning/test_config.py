from dataclasses import replace

from worker.unlearning import DEFAULT, PAPER

SMALL = replace(DEFAULT, grows_beyond=16, mixup=100, cutmix=10, bent=20, inverted=0, surrogate_batch=32)


def test_four_times_the_images_get_twice_the_surrogates():
    sized = SMALL.sized(64)
    assert (sized.mixup, sized.cutmix, sized.bent, sized.inverted, sized.surrogate_batch) == (200, 20, 40, 0, 64)


def test_few_images_get_what_is_written_and_the_published_method_always_does():
    assert SMALL.sized(16) == SMALL
    assert PAPER.sized(1024) == PAPER
