"""`python -m service.openapi` prints the description; it takes no database."""

import json
import sys

from service.app import create_app
from service.settings import ServiceSettings

if __name__ == "__main__":
    json.dump(create_app(ServiceSettings()).openapi(), sys.stdout, indent=2)
