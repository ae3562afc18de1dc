"""The dashboard in a real Chromium, while a real worker works."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.acceptance.conftest import Digits, Stack, on_sqlite
from tests.acceptance.test_forgetting import post_request, register

CHROMIUM = Path("/usr/bin/chromium")
FEW = slice(2)
PATIENCE = 240_000  # milliseconds; a busy machine takes minutes for what an idle one does in seconds

pytestmark = [pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Without what needs a screen, a GPU, an unprivileged user or a network."""
    switches = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Of its own: what these tests leave behind is nobody else's to see."""
    with on_sqlite(tmp_path_factory.mktemp("operated")) as stack:
        yield stack


@pytest.fixture
def page(chromium: Browser, stack: Stack) -> Iterator[Page]:
    """Signed in with a key of its own. At the end nothing was wrong: no error, nothing that the policy has blocked."""
    with stack.client() as client:
        made = client.post("/v1/api-keys", json={"name": "operations", "scopes": ["admin"]}).raise_for_status().json()
    context = chromium.new_context(base_url=stack.url)
    context.set_default_timeout(60_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto("/dashboard/")
    page.get_by_label("API key").fill(made["key"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    yield page
    context.close()
    assert [it for it in wrong if "net::ERR_FAILED" not in it] == []  # which a test brings about


#: Notes each value that a progress bar has, in the page: from outside, a short run may be over between two looks.
RECORD = """() => {
    window.shown = new Set();
    setInterval(() => document.querySelectorAll('progress[value]').forEach(bar => shown.add(bar.value)), 50);
}"""


def test_a_request_is_watched_from_its_approval_to_its_curves(page: Page, stack: Stack, digits: Digits) -> None:
    """Nobody reloads: what moves, moves by itself."""
    with stack.client() as client:
        name = register(client, digits, approval_required=True)
        location = post_request(client, name, digits, some=FEW, options={"scope": "exact"}).headers["location"]
        identifier = location.rpartition("/")[2]

    page.goto(f"/dashboard/requests/{identifier}/images")
    expect(page.locator(".pictures img")).to_have_count(2)
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")

    page.goto("/dashboard/")
    page.locator(f"#approve-{identifier}").click()
    expect(page.get_by_text("Approved and queued.")).to_be_visible()
    page.evaluate(RECORD)
    page.wait_for_function("() => shown.size > 1", timeout=PATIENCE)
    assert page.evaluate("performance.getEntriesByType('navigation')[0].type") == "navigate"

    expect(page.locator(".headline .status")).to_have_text(re.compile("completed|needs review"), timeout=PATIENCE)
    chart = page.get_by_role("img", name=re.compile("^A_f, % misclassified"))
    expect(chart).to_be_visible(timeout=PATIENCE)
    box = chart.bounding_box()
    assert box is not None
    assert box["width"] > 100
    # Two images may be misclassified at the first check already: a level line has no height, so nothing "visible".
    expect(chart.locator("path.line").first).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+(L[\d.]+ [\d.]+)+$"))
    expect(page.get_by_role("row", name=re.compile("^A_test"))).to_contain_text("%")
    page.get_by_role("link", name="2", exact=True).click()
    expect(page.get_by_role("heading", name="Version 1 and version 2")).to_be_visible()
    page.goto(f"/dashboard/models/{name}")
    expect(page.locator("svg.tree a")).to_have_count(2)


def test_a_failed_request_is_retried_and_another_one_is_declined(page: Page, stack: Stack, digits: Digits) -> None:
    with stack.client() as client:
        name = register(client, digits, approval_required=True)
        doomed, unwanted = (
            post_request(client, name, digits, some=FEW, options={"scope": "exact"})
            .headers["location"]
            .rpartition("/")[2]
            for _ in range(2)
        )
        images = stack.data / "samples" / doomed
        content = images.read_bytes()
        images.unlink()
        page.goto(f"/dashboard/requests/{doomed}")
        page.get_by_role("button", name="Approve").click()
        expect(page.locator(".headline .status")).to_have_text("failed", timeout=PATIENCE)
        expect(page.get_by_text("The images are not in the artifact store.")).to_be_visible()
        images.write_bytes(content)
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_text("Queued again.")).to_be_visible()
        expect(page.locator(".headline .status")).to_have_text(re.compile("waiting|running"))
        page.get_by_role("button", name="Withdraw").click()
        expect(page.locator(".headline .status")).to_have_text(re.compile("withdrawn"), timeout=PATIENCE)

        page.goto("/dashboard/")
        page.locator(f"#decline-{unwanted} summary").click()
        page.locator(f"#reason-{unwanted}").fill("not ours")
        page.locator(f"#reject-{unwanted}").click()
        expect(page.locator(".headline .status")).to_have_text("rejected")
        assert client.get(f"/v1/deletion-requests/{unwanted}").json()["state"] == "rejected"


def test_no_page_keeps_anybody_out(page: Page, stack: Stack, digits: Digits) -> None:
    """axe finds nothing serious, light and dark; nothing is wider than a phone; the keyboard gets in."""
    with stack.client() as client:
        name = register(client, digits, approval_required=True)
        request = post_request(client, name, digits, some=FEW).headers["location"].rpartition("/")[2]
        client.post("/v1/webhooks", json={"url": "https://hooks.example/"}).raise_for_status()
        ended = ended_request(client)
    pages = [
        "",
        "requests",
        f"requests/{request}",
        f"requests/{request}/images",
        "models",
        f"models/{name}",
        "webhooks",
    ]
    pages += [f"requests/{ended['id']}", f"models/{ended['model']}/compare?first=1&second=2"] if ended else []
    found = []
    for path in pages:
        page.goto(f"/dashboard/{path}")
        for width, scheme in ((1280, "light"), (380, "dark")):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, (path, width)
            found += [(path, width, scheme, *it) for it in serious(page)]
    assert found == []
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert serious(page) == []


def serious(page: Page) -> list[tuple[str, str]]:
    """What axe has to say against a page, and where."""
    found = Axe().run(page).response["violations"]
    return [(it["id"], it["nodes"][0]["html"]) for it in found if it["impact"] in ("serious", "critical")]


def ended_request(client: httpx.Client) -> dict | None:
    """A request with results, if an earlier test has made one."""
    found = client.get("/v1/deletion-requests", params={"limit": 100}).json()["items"]
    return next((it for it in found if it["version"] is not None), None)


def test_when_the_service_goes_away_the_page_says_so_and_comes_back(page: Page) -> None:
    page.route("**/dashboard/", lambda route: route.abort())
    expect(page.get_by_text("The service does not answer.")).to_be_visible(timeout=PATIENCE)
    page.unroute("**/dashboard/")
    expect(page.get_by_text("The service does not answer.")).to_be_hidden(timeout=PATIENCE)
