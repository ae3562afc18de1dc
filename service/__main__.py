"""`python -m service` answers HTTP until SIGTERM or SIGINT; with `--openapi` it prints the API's description."""

import gc

gc.disable()  # until all is loaded: it stays, and to look through it for garbage takes a tenth of the start

import json
import resource
import sys

import uvicorn

from service.app import create_app
from service.registry.telemetry import logs, traces
from service.settings import ServiceSettings

_GRACE = 10  # seconds that requests in progress have to finish


def main() -> None:
    """Serve with the settings of the environment."""
    settings = ServiceSettings()
    logs.configure(settings.log_format)
    traces.start("service")
    # An upload may be a thousand files, each of them open while it is checked.
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    app = create_app(settings)
    # What is loaded by now stays loaded: the garbage collector need not look through it during requests.
    gc.collect()
    gc.freeze()
    gc.enable()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # it shows addresses and queries; `service.access` shows routes
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=_GRACE,
    )
    traces.stop()


def openapi() -> None:
    """Print the description of the API (OpenAPI 3.1); it takes no database."""
    json.dump(create_app(ServiceSettings()).openapi(), sys.stdout, indent=2)


if __name__ == "__main__":
    openapi() if sys.argv[1:] == ["--openapi"] else main()
