"""`python -m service.cli` is `structguard`."""

from service.cli import main

if __name__ == "__main__":
    main()
