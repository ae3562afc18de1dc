"""The commands, in the order in which people meet them."""

import typer

from service.cli.commands import (
    audit,
    conformance,
    deletions,
    evidence,
    exchange,
    keys,
    master_key,
    models,
    operations,
    serving,
    signing_keys,
)
from service.cli.exits import EPILOG

app = typer.Typer(
    name="structguard",
    help="Ask image classifiers to forget images, and fetch the models that did.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # what it prints of local variables may be personal
)

for command in (
    *(serving.demo, serving.up, serving.migrate),
    master_key.rewrap,
    *(models.register, models.download),
    *(operations.doctor, operations.backup, operations.restore),
    *(deletions.forget, deletions.status, deletions.watch, deletions.cancel, deletions.retry),
    *(evidence.verify, evidence.verify_bundle, evidence.evidence, evidence.report, evidence.recompute),
):
    app.command(epilog=EPILOG)(command)
app.command("opendsr-check", epilog=EPILOG)(conformance.opendsr_check)

app.add_typer(audit.app, name="audit")
app.add_typer(exchange.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(signing_keys.app, name="signing-keys")
