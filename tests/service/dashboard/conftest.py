import pytest
from starlette.routing import Mount

from service.dashboard.attempts import Attempts
from tests.service.dashboard.given_browser import Browser
from tests.service.given import key


@pytest.fixture
def browser(client):
    mounted = next(route for route in client.http.app.routes if isinstance(route, Mount) and route.path == "/dashboard")
    mounted.app.state.attempts = Attempts()  # what earlier tests got wrong is not held against this one
    yield Browser(client)
    client.http.cookies.clear()


@pytest.fixture
def signed_in(browser, database):
    """Somebody who may do everything."""
    assert browser.sign_in(key(database)).status_code == 303
    return browser
