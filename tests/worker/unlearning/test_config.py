from dataclasses import replace

from worker.unlearning import DEFAULT, PAPER, VIEWS

SMALL = replace(DEFAULT, grows_beyond=16, mixup=100, cutmix=10, bent=20, inverted=0, surrogate_batch=32)


def test_four_times_the_images_get_twice_the_surrogates():
    sized = SMALL.sized(64)
    assert (sized.mixup, sized.cutmix, sized.bent, sized.inverted, sized.surrogate_batch) == (200, 20, 40, 0, 64)


def test_many_images_come_in_larger_batches_and_are_left_less_deep_but_not_their_variations():
    exact = replace(SMALL, forget_batch=16, margin=4.0, importance_weight=8.0).sized(64)
    assert (exact.forget_batch, exact.margin, exact.importance_weight) == (32, 1.0, 1.0)
    views = replace(VIEWS, forget_batch=16, margin=1.0, importance_weight=0.1).sized(64)
    assert (views.forget_batch, views.margin, views.importance_weight) == (16, 1.0, 0.1)


def test_many_images_are_pressed_more_slowly_and_their_variations_settle_longer():
    exact = replace(SMALL, deletion_growth=2.25, max_steps=1000, max_seconds=60.0, settling=200).sized(64)
    assert (exact.deletion_growth, exact.max_steps, exact.max_seconds, exact.settling) == (1.5, 2000, 120.0, 200)
    assert replace(VIEWS, settling=200).sized(64).settling == 400


def test_inverted_surrogates_grow_with_the_images_themselves_but_not_where_most_are_inverted():
    assert replace(SMALL, inverted=10).sized(64).inverted == 40
    assert replace(VIEWS, inverted=10).sized(64).inverted == 20


def test_few_images_get_what_is_written_and_the_published_method_always_does():
    assert SMALL.sized(16) == SMALL
    assert PAPER.sized(1024) == PAPER


def test_the_gentler_way_is_longer_and_is_the_last():
    gentler = replace(SMALL, deletion_weight=8.0, lr=2e-3, settling=200).gentler()
    assert (gentler.deletion_weight, gentler.lr, gentler.settling) == (2.0, 5e-3, 400)
    assert (gentler.margin, gentler.importance_weight, gentler.max_churn) == (0.3, 0.1, 1.0)
