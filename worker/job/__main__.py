"""One attempt at one job: `python -m worker.job JOB_ID FENCE ATTEMPT`."""

from worker.job.attempt import main

if __name__ == "__main__":
    main()
