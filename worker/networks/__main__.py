"""`python -m worker.networks` writes the tensor shapes by which the service validates uploads."""

from worker.networks.architectures import main

if __name__ == "__main__":
    main()
