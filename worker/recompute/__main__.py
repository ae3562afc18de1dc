"""`python -m worker.recompute FILE TOLERANCE` computes every number of a certificate again."""

from worker.recompute.remeasure import main

if __name__ == "__main__":
    main()
