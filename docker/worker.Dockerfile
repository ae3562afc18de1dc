# The worker: torch with CUDA; the same image works on a CPU, only larger than it needs to be.
FROM python:3.12-slim AS build
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /src
COPY pyproject.toml requirements.lock README.md ./
COPY service service
COPY worker worker
COPY migrations migrations
RUN uv venv /opt/structguard && \
    VIRTUAL_ENV=/opt/structguard uv pip install --no-cache --constraint requirements.lock ".[worker,otel]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home structguard && install --directory --owner structguard /data
COPY --from=build /opt/structguard /opt/structguard
ENV PATH=/opt/structguard/bin:$PATH STRUCTGUARD_DATA_DIR=/data
USER 10001
VOLUME /data
# One job at a time, one worker for each GPU. Workers have nothing to tell each other, and one that starts need not wait
# for the answers of others.
CMD ["celery", "--quiet", "--app", "worker.app", "worker", "--pool", "prefork", "--concurrency", "1", "--loglevel", "info", "--without-gossip", "--without-mingle"]
