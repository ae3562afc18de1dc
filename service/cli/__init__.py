"""The command line. It talks to the service over HTTP like any other client; `up` and `demo` start one."""

from service.cli.commands import app


def main() -> None:
    """Run `structguard` with the arguments of this process."""
    app()
