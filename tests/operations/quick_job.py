"""`worker.job` for a network that knows nothing and needs no surrogates to speak of."""

from dataclasses import replace

from worker import job
from worker.unlearning import DEFAULT

FEW = {
    "mixup": 32,
    "cutmix": 32,
    "bent": 32,
    "inverted": 32,
    "importance_images": 32,
    "surrogate_batch": 32,
    "settling": 10,
}

if __name__ == "__main__":
    job.DEFAULT = replace(DEFAULT, **FEW)
    job.main()
