"""`python -m service` answers HTTP until SIGTERM or SIGINT."""

import logging
import resource

import uvicorn

from service.app import create_app
from service.settings import ServiceSettings

_GRACE = 10  # seconds that requests in progress have to finish


def main() -> None:
    """Serve with the settings of the environment."""
    logging.basicConfig(
        level=logging.INFO, format="time=%(asctime)s level=%(levelname)s logger=%(name)s message=%(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it would tell of itself at every readiness check
    # An upload may be a thousand files, each of them open while it is checked.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    settings = ServiceSettings()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # it shows addresses and queries; `service.access` shows routes
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=_GRACE,
    )


if __name__ == "__main__":
    main()
