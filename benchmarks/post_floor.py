"""The floor under `benchmarks.post`: an endpoint that receives the same form, and does the same INSERTs and one commit.

It has no authentication, no validation, no stored files and no events.
`python -m benchmarks.post_floor DATABASE PORT` serves it.
"""

import json
import sys
import uuid
from datetime import timedelta
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Form, Response, UploadFile
from sqlalchemy import insert, select

from service.registry.states import State
from service.registry.storage.database import Database, clock
from service.registry.tables import DeletionRequest, Job, Model, Transition


def create_app(database: Database) -> FastAPI:
    """The floor, for the one model that the database has."""
    app = FastAPI()
    with database.read() as session:
        model = session.scalars(select(Model)).one()

    @app.post("/v1/deletion-requests", status_code=202)
    def submit(metadata: Annotated[str, Form()], images: list[UploadFile]) -> Response:
        options = json.loads(metadata)["options"]
        size = sum(len(image.file.read()) for image in images)
        job_id, request_id = uuid.uuid4(), uuid.uuid4()
        with database.write() as session:
            now = clock(session)
            owner = {"tenant_id": model.tenant_id, "model_id": model.id}
            job = {"state": State.QUEUED, "options": options, "metrics": {}, "seconds": {}, "created_at": now}
            request = {
                "job_id": job_id,
                "submitted_by": "nobody",
                "samples_hmac": "0" * 64,
                "state": State.QUEUED,
                "regulation": "gdpr",
                "received_at": now,
                "due_at": now + timedelta(days=30),
                "samples": f"samples/{request_id}",
                "sample_count": len(images),
            }
            session.execute(insert(Job).values(id=job_id, **owner, **job))
            session.execute(insert(DeletionRequest).values(id=request_id, **owner, **request))
            for before, after in ((None, State.RECEIVED), (State.RECEIVED, State.QUEUED)):
                transition = {"request_id": request_id, "at": now, "before": before, "after": after}
                session.execute(insert(Transition).values(**transition))
        body = json.dumps({"id": str(request_id), "state": "queued", "bytes": size})
        return Response(body, 202, media_type="application/json")

    return app


if __name__ == "__main__":
    address, port = sys.argv[1:]
    uvicorn.run(create_app(Database(address)), port=int(port), log_config=None, access_log=False, server_header=False)
