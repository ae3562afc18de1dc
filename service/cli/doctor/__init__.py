"""What is wrong with an installation, and how to mend it: one finding after the other, and nothing is changed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from service.cli.doctor import audit, broker, database, master_key, queue, store, worker
from service.cli.doctor.finding import Finding, Outcome, problem, warning
from service.registry.storage.database import Database
from service.settings import ServiceSettings

__all__ = ["Finding", "Outcome", "examine"]

Check = Callable[[], Finding | Iterable[Finding]]


def examine(data_dir: Path | None) -> Iterator[Finding]:
    """Check the installation that the environment names, with this data folder if given. Findings hold no secret."""
    try:
        settings = ServiceSettings() if data_dir is None else ServiceSettings(data_dir=data_dir)
    except ValidationError as error:
        variables = {f"STRUCTGUARD_{item['loc'][0]}".upper() if item["loc"] else item["msg"] for item in error.errors()}
        yield problem(
            "settings", f"the service cannot use {', '.join(sorted(variables))}", "docs/settings.md lists the settings."
        )
        return
    secrets = _secrets(settings)
    for finding in _findings(settings):
        says, mend = finding.says, finding.mend
        for secret in secrets:
            says, mend = says.replace(secret, "…"), mend.replace(secret, "…")
        yield Finding(finding.check, finding.outcome, says, mend)


def _findings(settings: ServiceSettings) -> Iterator[Finding]:
    reached = _run_check("database", lambda: database.reachable(settings))
    yield from reached
    is_usable = _has_no_problem(reached)
    if is_usable:
        with closing(Database(settings.resolved_database_url())) as opened:
            migrated = _run_check("migrations", lambda: database.migrated(opened))
            yield from migrated
            is_usable = _has_no_problem(migrated)
            if is_usable:
                for name, check in _database_checks(opened, settings).items():
                    yield from _run_check(name, check)
    yield from _run_check("store", lambda: store.writable(settings))
    if not is_usable:
        mend = "Put the database right, and ask again."
        says = "clock, files, disk, master key, audit log, workers and requests were not looked at"
        yield warning("the rest", says, mend)
    yield from _run_check("broker", lambda: broker.answers(settings))
    yield from _run_check("device", lambda: worker.equipment(settings))


def _database_checks(opened: Database, settings: ServiceSettings) -> dict[str, Check]:
    """The checks that need the tables, by name, in the order of the report."""
    return {
        "writing": lambda: database.writable(opened),
        "clock": lambda: database.clocks(opened),
        "files": lambda: store.complete(settings, opened),
        "disk": lambda: store.room(settings, opened),
        "master key": lambda: master_key.opens(settings, opened),
        "audit log": lambda: audit.whole(opened),
        "workers": lambda: queue.workers(settings, opened),
        "requests": lambda: queue.requests(settings, opened),
    }


def _run_check(name: str, check: Check) -> list[Finding]:
    """The findings of a check; an exception in it becomes a finding, too."""
    try:
        result = check()
        return [result] if isinstance(result, Finding) else list(result)
    except Exception as error:  # noqa: BLE001  (whatever it is, the other checks are to go on)
        return [problem(name, f"the check itself failed: {type(error).__name__}", "Look at the log of the service.")]


def _has_no_problem(findings: list[Finding]) -> bool:
    return all(finding.outcome is not Outcome.PROBLEM for finding in findings)


def _secrets(settings: ServiceSettings) -> set[str]:
    """The URLs of database and broker and their passwords, percent-encoded and decoded."""
    urls = [url.get_secret_value() for url in (settings.database_url, settings.broker_url) if url is not None]
    passwords = {password for url in urls if (password := _password(url))}
    return passwords | {unquote(password) for password in passwords} | set(urls)


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None
