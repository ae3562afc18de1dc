"""Issues certificates in processes of its own, one for each line that it reads.

`python -m tests.service.registry.evidence.issuing` runs it.

Each is a fork with everything loaded, so that it is at work within milliseconds, and can be killed there. It says which
process it is.
"""

import os
import signal
import sys

from service.registry.audit import audit_log
from service.registry.crypto import dsse
from service.registry.crypto.signing_keys import signer
from service.registry.evidence import certificates
from service.registry.evidence.statement import STATEMENT
from service.registry.settings import RegistrySettings
from service.registry.storage.database import Database


def main() -> None:
    """Fork until nobody asks any more."""
    settings = RegistrySettings()
    subject = [{"name": "nothing", "digest": {"sha256": "0" * 64}}]
    about = {"predicateType": "https://example.com", "predicate": {"of": "nothing"}}
    dsse.sign(
        {"_type": STATEMENT, "subject": subject} | about, signer(settings)
    )  # loads what is loaded where it is used
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that end
    print("ready", flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            work(settings)
            os._exit(0)
        print(child, flush=True)


def work(settings: RegistrySettings) -> None:
    """What a process of the service does: certify what has ended, and chain what has happened, until all is done."""
    database = Database.of(settings)
    more = True
    while more:
        certificates.issue_pending(database, settings)
        with database.read() as session:
            waiting = audit_log.unchained_tenants(session)
        more = bool(waiting)
        for tenant_id in waiting:
            with database.write() as session:
                audit_log.chain(session, tenant_id)


if __name__ == "__main__":
    main()
