# The HTTP service: no torch, starts in a second.
FROM python:3.12-slim AS build
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /src
COPY pyproject.toml requirements.lock README.md ./
COPY service service
COPY worker worker
COPY migrations migrations
RUN uv venv /opt/structguard && \
    VIRTUAL_ENV=/opt/structguard uv pip install --no-cache --constraint requirements.lock ".[otel]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 structguard && install --directory --owner structguard /data
COPY --from=build /opt/structguard /opt/structguard
ENV PATH=/opt/structguard/bin:$PATH STRUCTGUARD_DATA_DIR=/data STRUCTGUARD_HOST=0.0.0.0
USER 10001
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "service"]
