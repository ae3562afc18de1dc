"""`python -m worker.networks` writes the shapes that the service judges uploads by."""

from worker.networks.architectures import main

if __name__ == "__main__":
    main()
