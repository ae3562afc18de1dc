"""A browser without a screen."""

import re

from service.registry.access.scopes import Scope

READER = (Scope.REQUESTS_READ, Scope.MODELS_READ)


class Browser:
    """Somebody at the dashboard, whose browser keeps cookies and sends forms."""

    def __init__(self, client) -> None:
        self._http = client.http
        self._http.cookies.clear()

    def get(self, path, **options):
        return self._http.get(f"/dashboard/{path}", follow_redirects=False, **options)

    def send(self, path, form=None, **headers):
        """Send a form as it is."""
        return self._http.post(f"/dashboard/{path}", data=form or {}, headers=headers, follow_redirects=False)

    def submit(self, path, **form):
        """Send a form of ours, with the token of the first page."""
        return self.send(path, {"csrf": self.token(), **form})

    def token(self, page=""):
        return re.search(r'name="csrf" value="([0-9a-f]{64})"', self.get(page).text)[1]

    def sign_in(self, secret, following=""):
        return self.send("sign-in", {"csrf": self.token("sign-in"), "key": secret, "next": following})

    @property
    def cookies(self):
        return self._http.cookies
