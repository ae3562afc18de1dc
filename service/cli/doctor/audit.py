"""The audit log: was it whole when the service last looked, and does the service look?"""

from datetime import timedelta

from service.cli.doctor.finding import Finding, ok, problem, warning
from service.registry.audit.verification import last_verification
from service.registry.storage.database import Database, clock

_LATE = timedelta(hours=1)  # it looks every minute


def whole(database: Database) -> Finding:
    """What the service has found out, which verifies the log by itself."""
    with database.read() as session:
        found, now = last_verification(session), clock(session)
    if found.broken:
        mend = "Keep database and backups as they are, and find out who could write there."
        return problem("audit log", f"{found.broken} of {found.logs} chains are broken", mend)
    if found.oldest_at is not None and found.oldest_at < now - _LATE:
        says = f"it was last verified on {found.oldest_at:%Y-%m-%d %H:%M} UTC"
        return warning("audit log", says, "Start the service, which does it by itself.")
    return ok("audit log", f"whole, as far as it was verified: {found.verified_height} of {found.height} entries")
