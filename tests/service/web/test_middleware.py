"""As many uploads as there may be are in progress; how a server keeps them is in test_process.py."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.registry.images import upload_formats
from tests.service.given import checkpoint, images, png, problem, running


@pytest.fixture
def uploads(settings, client, monkeypatch):
    """A process with more slots than there are threads by default, and uploads that take as long as the test says."""
    client.model_with_version()
    arrived, goes_on, check = threading.Semaphore(0), threading.Event(), upload_formats.check_upload

    def slow(*args, **more):
        arrived.release()
        assert goes_on.wait(20)
        return check(*args, **more)

    monkeypatch.setattr(upload_formats, "check_upload", slow)
    with running(settings, client, max_concurrent_uploads=44) as service, ThreadPoolExecutor(44) as pool:
        sent = [pool.submit(service.deletion_request, png(shade), labels=[0]) for shade in range(44)]
        for _ in sent:
            assert arrived.acquire(timeout=20)
        try:
            yield service
        finally:
            goes_on.set()
        assert [answer.result().status_code for answer in sent] == [202] * 44


def test_whatever_is_no_upload_finds_a_thread(uploads):
    """Polls, JSON, and the checks of a load balancer, while each upload keeps one."""
    problem(uploads.deletion_request(), 503, "unavailable")
    assert uploads.get("/v1/deletion-requests").status_code == 200
    assert uploads.get("/readyz").status_code == 200
    assert uploads.model("cars").status_code == 201


def test_a_slot_is_given_back_however_an_upload_ends(client, settings):
    """Refused before its body, within it or after it, or accepted."""
    client.model_with_version()
    with running(settings, client, max_concurrent_uploads=1) as service:
        for answer in (
            service.post("/v1/deletion-requests", files=images(png()), headers={"Authorization": "Bearer no"}),
            service.version(files={"checkpoint": bytes(2 << 20)}),
            service.post("/v1/nothing", files=images(png())),
            service.post("/v1/deletion-requests", content=b"x", headers={"content-type": "multipart/form-data"}),
            service.version(files={"checkpoint": checkpoint()[:-9]}),
            service.deletion_request(),
        ):
            assert answer.status_code in (202, 400, 401, 404, 413, 422)
