"""`worker.job` for a network that knows nothing and needs no surrogates to speak of."""

from dataclasses import replace

from tests.worker.given_runs import FEW
from worker.job import attempt
from worker.unlearning import DEFAULT

if __name__ == "__main__":
    attempt.DEFAULT = replace(DEFAULT, **FEW)
    attempt.main()
