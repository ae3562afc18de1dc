"""The checks, in the order of a report."""

from service.cli.opendsr.checks import discovery, requests, refusals, version_1, callbacks  # noqa: I001  (their order)

__all__ = ["callbacks", "discovery", "refusals", "requests", "version_1"]
