# The server, and the agent of a node: `docker build -t odin:0.1.0 .`
#   server   docker run --read-only --tmpfs /tmp -v odin:/var/lib/odin -p 127.0.0.1:9003:9003 odin:0.1.0
#   agent    the same image with the command odin-midgard
# Every Python package is pinned by hash in requirements/. A registry's own digest can replace the tag:
#   docker build --build-arg PYTHON=3.13-slim-trixie@sha256:… .
ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_ONLY_BINARY=:all:
WORKDIR /src
# The packages are a layer of their own: a change of Odin alone downloads nothing again.
COPY requirements/build.txt requirements/server.txt requirements/kubernetes.txt requirements/postgresql.txt requirements/
RUN python -m venv --without-pip /opt/odin \
 && pip --python /opt/odin/bin/python install --no-compile --require-hashes \
    -r requirements/server.txt -r requirements/kubernetes.txt -r requirements/postgresql.txt
RUN python -m venv --without-pip /opt/build \
 && pip --python /opt/build/bin/python install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --wheel-dir /opt/wheels . \
 && pip --python /opt/odin/bin/python install --no-compile --no-deps --no-index /opt/wheels/*.whl
# Compiled here, because nothing can be written where it runs; by hash, because layers change the times of files.
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/odin/lib

FROM python:${PYTHON}
# git serves `git push` (git http-backend); openssh-client and ca-certificates reach ODIN_JOBS_REMOTE; tini is process 1
# and collects what a git that was killed leaves behind.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git openssh-client tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 odin \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/odin --no-log-init --shell /usr/sbin/nologin odin \
 && install -d -o odin -g odin -m 0700 /var/lib/odin
COPY --from=build /opt/odin /opt/odin
ENV PATH=/opt/odin/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ODIN_DATA=/var/lib/odin/data \
    ODIN_SHARED=/var/lib/odin/shared
LABEL org.opencontainers.image.title="Odin" org.opencontainers.image.licenses="Apache-2.0"
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/odin
EXPOSE 9003
ENTRYPOINT ["tini", "--", "odin-serve"]
