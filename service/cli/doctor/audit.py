"""The audit log: whether its chains were whole at the last verification, and whether that was recently."""

from datetime import timedelta

from service.cli.doctor.finding import Finding, ok, problem, warning
from service.registry.audit.verification import last_verification
from service.registry.storage.database import Database, clock

_LATE = timedelta(hours=1)  # the service verifies every minute


def whole(database: Database) -> Finding:
    """The result of the service's last verification of the log."""
    with database.read() as session:
        verification, now = last_verification(session), clock(session)
    if verification.broken:
        mend = "Keep database and backups as they are, and find out who could write there."
        return problem("audit log", f"{verification.broken} of {verification.logs} chains are broken", mend)
    if verification.oldest_at is not None and verification.oldest_at < now - _LATE:
        says = f"it was last verified on {verification.oldest_at:%Y-%m-%d %H:%M} UTC"
        return warning("audit log", says, "Start the service, which does it by itself.")
    return ok(
        "audit log",
        f"whole, as far as it was verified: {verification.verified_height} of {verification.height} entries",
    )
