"""Who gets in, how they are remembered, and how it ends."""

import logging
from datetime import timedelta

import pytest
from sqlalchemy import select

from service.registry.access import api_keys
from service.registry.storage.database import clock
from service.registry.tables import ApiKey, DashboardSession
from tests.service.dashboard.given_browser import READER
from tests.service.given import key, problem

PAGES = ("", "requests", "models", "webhooks")


@pytest.mark.parametrize("page", PAGES)
def test_whoever_is_not_signed_in_is_asked_to(browser, page):
    answer = browser.get(page)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/dashboard/sign-in")


def test_a_key_lets_in_and_one_comes_back_to_where_one_was(browser, database):
    location = browser.get("requests?state=failed").headers["location"]
    assert location == "/dashboard/sign-in?next=%2Fdashboard%2Frequests%3Fstate%3Dfailed"
    answer = browser.sign_in(key(database), "/dashboard/requests?state=failed")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/requests?state=failed")
    assert browser.get("").status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/dashboard//evil.example", "/v1/models", "/dashboard/\\evil"],
)
def test_one_is_sent_nowhere_else(browser, database, elsewhere):
    assert browser.sign_in(key(database), elsewhere).headers["location"] == "/dashboard/"


def test_the_cookie_is_the_browsers_alone_and_holds_no_key(browser, database):
    secret = key(database)
    set_cookie = next(
        header for header in browser.sign_in(secret).headers.get_list("set-cookie") if header.startswith("structguard=")
    )
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(set_cookie.split("; "))
    token = set_cookie.split(";")[0].removeprefix("structguard=")
    assert secret[:10] not in set_cookie
    with database.read() as session:
        kept = session.scalars(select(DashboardSession.digest)).one()
    assert token not in kept


def test_over_tls_the_cookie_is_sent_over_tls_only(client, browser, database):
    page = client.http.get("https://testserver/dashboard/sign-in")
    assert page.headers["set-cookie"].startswith("__Host-structguard-sign-in=")
    assert "Secure" in page.headers["set-cookie"]


@pytest.mark.parametrize("wrong", ["", "sg_000000000000_" + 64 * "0", "hunter2"])
def test_no_other_word_lets_in_and_it_is_not_repeated(browser, wrong):
    answer = browser.sign_in(wrong)
    assert answer.status_code == 401
    assert "This key is not good" in answer.text
    assert not wrong or wrong not in answer.text


def test_a_token_of_an_identity_provider_is_told_what_to_do(browser):
    answer = browser.sign_in("eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl")
    assert answer.status_code == 401
    assert "Sign in with an API key" in answer.text


def test_guessing_ends_after_ten_attempts(browser, database):
    answers = [browser.sign_in("hunter2").status_code for _ in range(11)]
    assert answers == 10 * [401] + [429]
    assert browser.sign_in(key(database)).status_code == 429


def test_signing_out_ends_the_session_and_not_only_the_cookie(signed_in):
    token = signed_in.cookies["structguard"]
    assert signed_in.submit("sign-out").headers["location"] == "/dashboard/sign-in?done=signed-out"
    assert "structguard" not in signed_in.cookies
    signed_in.cookies["structguard"] = token
    assert signed_in.get("").status_code == 303


def test_a_session_ends_with_its_key(browser, database):
    browser.sign_in(key(database))
    assert browser.get("").status_code == 200
    with database.write() as session:
        row = session.scalars(select(ApiKey).order_by(ApiKey.created_at.desc())).first()
        api_keys.revoke_key(session, row.tenant_id, row.id)
    assert browser.get("").status_code == 303


@pytest.mark.parametrize("ends", [DashboardSession, ApiKey])
def test_a_session_ends_in_time(browser, database, ends):
    browser.sign_in(key(database))
    with database.write() as session:
        for row in session.scalars(select(ends)):
            row.expires_at = clock(session) - timedelta(seconds=1)
    assert browser.get("").status_code == 303
    browser.cookies.clear()
    with database.write() as session:
        for row in session.scalars(select(ApiKey)):
            row.expires_at = None
    browser.sign_in(key(database))
    if ends is DashboardSession:
        with database.read() as session:
            assert len(session.scalars(select(DashboardSession)).all()) == 1  # the old one was swept away


def test_a_key_does_here_what_it_may_and_no_more(browser, database):
    browser.sign_in(key(database, *READER))
    assert browser.get("").status_code == browser.get("models").status_code == 200
    for path in ("webhooks", "requests/6f1c8a0e-7c39-4d0b-9a75-0a4b5d6e7f80/images"):
        answer = browser.get(path)
        assert answer.status_code == 403
        assert "This takes the scope" in answer.text
    assert "/dashboard/webhooks" not in browser.get("").text


def test_a_bearer_token_is_for_the_api_and_the_cookie_for_the_pages(client, browser, signed_in):
    bearer = client.http.headers.pop("Authorization")
    problem(client.get("/v1/models"), 401, "unauthenticated")
    client.http.headers["Authorization"] = bearer
    browser.cookies.clear()
    assert browser.get("").status_code == 303


def test_a_link_from_elsewhere_is_asked_for_again_by_a_page_of_ours(browser, signed_in):
    """`SameSite=Strict` keeps the cookie back when another site leads here."""
    kept = dict(signed_in.cookies)
    signed_in.cookies.clear()
    answer = browser.get("requests", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text
    signed_in.cookies.update(kept)
    assert "<h1>Requests</h1>" in browser.get("requests", headers={"Sec-Fetch-Site": "same-origin"}).text


def test_the_log_knows_routes_and_no_addresses_of_things(signed_in, caplog):
    with caplog.at_level(logging.INFO, "service.access"):
        signed_in.get("models/jane-doe?cursor=jane")
    assert "route=/dashboard/models/{name} status=404" in caplog.text
    assert "jane" not in caplog.text
