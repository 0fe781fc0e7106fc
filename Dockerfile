# The engine, and its lab with everything that a ring of Cassandra needs on one computer. For trying it, and for
# development; docs/lab.md says what has been run. Java 17 is what Cassandra 5.0 wants; Debian 12 has it.
FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make openssh-server openjdk-17-jdk-headless openssl procps iproute2 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements-dev.txt pyproject.toml Makefile README.md ./
RUN python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements-dev.txt
COPY . .
RUN .venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable .
ENV PATH=/app/.venv/bin:$PATH SEALRING_CONFIG=/app/.lab/sealring.toml
CMD ["sealring", "--help"]
