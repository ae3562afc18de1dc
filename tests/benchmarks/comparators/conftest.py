"""The comparators are tested on the small network on which `worker.unlearning` is."""

from tests.worker.unlearning.conftest import digits, forget, model, one_thread, rng, trained

__all__ = ["digits", "forget", "model", "one_thread", "rng", "trained"]
