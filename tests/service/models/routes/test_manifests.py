"""What versions were trained on: training manifests, and what is wrong with them."""

import io

import pyarrow as pa
import pytest
from pyarrow import parquet
from sqlalchemy import select

from service.registry.crypto.master_key import MasterKey
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.errors import Fault, InvalidInput
from service.registry.storage.artifacts import Artifacts
from service.registry.tables import Manifest, Record, Tenant
from service.registry.training_data import manifest_files, manifests
from tests.service.given import csv_of, problem, row

ROWS = [row("a"), row("b", subject="", label="2"), row("ü c", subject="otto", label="bird")]


def parquet_of(**columns):
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def columns_of(*rows, **more):
    return {name: [each[name] for each in rows] for name in rows[0]} | more


@pytest.fixture
def records(database):
    """What is stored of each row."""

    def look():
        with database.read() as session:
            rows = session.scalars(select(Record).order_by(Record.row))
            return [(record.sample_hmac, record.subject_hmac, record.label) for record in rows]

    return look


@pytest.fixture
def pseudonyms(database):
    def of():
        with database.read() as session:
            return Pseudonyms(session.scalars(select(Tenant.pseudonym_key)).one())

    return of


@pytest.mark.parametrize(
    "content",
    [
        csv_of(*ROWS),
        b"\xef\xbb\xbf" + csv_of(*ROWS).replace(b"\r\n", b"\n\n"),
        parquet_of(**columns_of(*ROWS)),
        parquet_of(**columns_of(*ROWS, label=pa.array(["cat", "2", "bird"]).dictionary_encode(), split=[1, 1, 2])),
    ],
    ids=["csv", "csv with a mark and empty lines", "parquet", "parquet with a dictionary and a column more"],
)
def test_a_manifest_is_kept_as_pseudonyms(client, settings, database, records, pseudonyms, content):
    """Labels by name or position, a record without a subject; the URIs in a file, in the order of the rows."""
    client.model_with_version()
    made = client.manifest(content=content)
    here = "/v1/models/pets/versions/1/manifests/training"
    assert (made.status_code, made.headers["location"]) == (201, here)
    assert (made.json()["records"], made.json()["suppressed_records"]) == (3, 0)
    assert client.get(here).json() == made.json()
    assert client.get("/v1/models/pets/versions/latest/manifests").json()["items"] == [made.json()]
    known = pseudonyms()
    assert records() == [
        (known.record("a"), known.subject("jane"), 0),
        (known.record("b"), None, 2),
        (known.record("ü c"), known.subject("otto"), 2),
    ]
    (uris,) = (settings.data_dir / "manifests").iterdir()
    assert b"s3://" not in uris.read_bytes()
    with database.read() as session:
        (manifest,) = session.scalars(select(Manifest))
    opened = manifests.open_uris(manifest, Artifacts(settings.data_dir), MasterKey(settings))
    assert opened.read().decode().splitlines() == [each["uri"] for each in ROWS]


def test_numbers_are_identifiers_too(client, records, pseudonyms):
    """A Parquet file may have integers where a CSV has their digits."""
    client.model_with_version()
    columns = {"sample_id": [7, 8], "subject_id": [1, None], "label": [0, 1], "uri": ["s3://a/7", "s3://a/8"]}
    assert client.manifest(content=parquet_of(**columns)).status_code == 201
    known = pseudonyms()
    assert records() == [(known.record("7"), known.subject("1"), 0), (known.record("8"), None, 1)]


ROW_3 = "#/manifest/rows/3/"


@pytest.mark.parametrize(
    ("wrong", "column"),
    [
        ({"sample_id": ""}, "sample_id"),
        ({"sample_id": "x" * 501}, "sample_id"),
        ({"sample_id": "a"}, "sample_id"),  # stands in row 0
        ({"subject_id": "x" * 501}, "subject_id"),
        ({"label": "cow"}, "label"),
        ({"label": "3"}, "label"),
        ({"label": "-1"}, "label"),
        ({"label": "9" * 5000}, "label"),
        ({"label": ""}, "label"),
        ({"uri": "photograph.png"}, "uri"),
        ({"uri": "s3://a/\x00"}, "uri"),
        ({"uri": "s3://a/\u2028b"}, "uri"),
        ({"uri": "s3://" + "a" * 2000}, "uri"),
    ],
)
def test_what_is_wrong_with_a_row_is_pointed_to(client, kept, wrong, column):
    """By its number and the column, in both formats; nothing is stored."""
    client.model_with_version()
    before = kept()
    rows = [*ROWS, row("d") | wrong]
    for content in (csv_of(*rows), parquet_of(**columns_of(*rows))):
        problem(client.manifest(content=content), 422, "invalid-input", ROW_3 + column)
    assert kept() == before


def test_at_most_twenty_faults_are_told(client):
    """Of any number of wrong rows."""
    client.model_with_version()
    answer = client.manifest(*(row(f"{n}", label="cow") for n in range(30)))
    problem(answer, 422, "invalid-input", *(f"#/manifest/rows/{n}/label" for n in range(20)))


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        (b"", "#/manifest/columns/sample_id"),
        (b"sample_id,subject_id,label,uri", "#/manifest"),
        (csv_of(*ROWS).replace(b"s3", b'"s3'), "#/manifest"),
        (csv_of(*ROWS) + b"a,b,c,d,e", "#/manifest/rows/3"),
        (csv_of(*ROWS) + b"\xff", "#/manifest"),
        (csv_of(*(row(str(n)) for n in range(51))), "#/manifest"),
        (b"PAR1" + b"x" * 100, "#/manifest"),
        (parquet_of(**columns_of(*ROWS))[:-9] + b"xxxxxPAR1", "#/manifest"),
        (parquet_of(**columns_of(*ROWS, label=[0.5, 1.0, 2.0])), "#/manifest/rows/0/label"),
        (parquet_of(**columns_of(*[row(f"{n:05000}") for n in range(20)])), "#/manifest"),
        (bytes(1 << 17), "#/manifest"),
    ],
)
def test_what_is_no_manifest_is_refused(client, kept, content, pointer):
    """Damaged, too long, or something else altogether."""
    client.model_with_version()
    before = kept()
    body = client.manifest(content=content).json()
    assert (body["status"], body["errors"][0]["pointer"]) == (422, pointer)
    assert kept() == before


def test_a_small_file_cannot_unfold_into_a_large_one(client):
    """One long cell that is repeated is long once; it is refused before it is repeated."""
    content = parquet_of(**columns_of(*(row(str(n), subject="x" * 100_000) for n in range(1000))))
    assert len(content) < 50_000
    limits = manifest_files.ManifestLimits(rows=1000, bytes=1 << 20)
    with pytest.raises(InvalidInput) as refused:
        manifest_files.validate(
            io.BytesIO(content), io.BytesIO(), classes=["cat"], pseudonyms=Pseudonyms(b"k"), limits=limits
        )
    assert refused.value.faults == (Fault("#/manifest", "has a cell of more than 65536 bytes"),)


def test_a_name_is_given_once_for_each_version(client):
    """And needs a version that exists."""
    client.model_with_version()
    client.version()
    assert client.manifest(row("a")).status_code == 201
    problem(client.manifest(row("a")), 409, "name-taken", "#/name")
    assert client.manifest(row("a"), version="pets/versions/2").status_code == 201
    problem(client.manifest(row("a"), version="pets/versions/3"), 404, "not-found")
    problem(client.get("/v1/models/pets/versions/1/manifests/other"), 404, "not-found")


def test_nobody_else_sees_it(client, database):
    """To another tenant there is no such model."""
    client.model_with_version()
    client.manifest(row("a"))
    client.signs_in(database, tenant="other")
    problem(client.get("/v1/models/pets/versions/1/manifests/training"), 404, "not-found")
    problem(client.manifest(row("a")), 404, "not-found")
