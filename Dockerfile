# dmpool as an image: a wheel built from the locked requirements, on a slim base, for a user without rights.
#
#   docker build --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) --tag dmpool .
#   docker run --rm -p 3333:3333 dmpool                # the demo; its data is gone with the container
#
# The build wants nothing from outside but the two base images and what requirements-runtime.lock names, each file
# checked against its hash. Two builds of one commit give the same wheel, byte for byte (O-23);
# docs/operate/deploy.md says how the whole image is made so, and how the bases are pinned by digest.

# Tags, because a digest is chosen where a registry can be asked: give `python:3.11-bookworm@sha256:...`.
ARG BUILD_IMAGE=python:3.11-bookworm
ARG RUNTIME_IMAGE=python:3.11-slim-bookworm

FROM ${BUILD_IMAGE} AS build
# Dates every file in the wheel: the time of the commit.
ARG SOURCE_DATE_EPOCH=1767225600
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src

# What is built from source is built by the locked setuptools too, not by one that pip would fetch unchecked.
COPY requirements.lock requirements-runtime.lock ./
RUN awk '/^[^ #]/ { wanted = /^setuptools==/ } wanted' requirements.lock >build.lock \
    && python -m pip install --require-hashes --requirement build.lock \
    && python -m pip wheel --require-hashes --no-build-isolation --requirement requirements-runtime.lock --wheel-dir /wheels

# The modes of a checkout depend on who made it; those in the wheel must not.
COPY pyproject.toml README.md ./
COPY native native
COPY stratum stratum
COPY register register
COPY payouts payouts
COPY reporting reporting
COPY pool pool
COPY configs configs
RUN chmod -R u=rwX,go=rX . \
    && CFLAGS=-g0 python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

# No pip in what runs. Byte code is made now, because the root of a container should be read-only.
COPY docs/operate docs/operate
COPY docs/metrics.md docs/
RUN python -m venv --without-pip /opt/dmpool \
    && python -m pip --python /opt/dmpool/bin/python install --no-index --no-deps --no-compile /wheels/*.whl \
    && python -m pip --python /opt/dmpool/bin/python check \
    && chmod -R u=rwX,go=rX docs \
    && cp -r docs "$(/opt/dmpool/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && /opt/dmpool/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/dmpool/lib

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="dmpool" \
      org.opencontainers.image.description="The server of an accredited digital mining pool" \
      org.opencontainers.image.documentation="docs/operate/README.md"
# A fixed number, so that volumes and secrets can be given to it by number.
RUN groupadd --gid 10001 dmpool \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/dmpool --shell /usr/sbin/nologin dmpool \
    && install --directory --owner dmpool --group dmpool --mode 0700 /var/lib/dmpool /var/lib/dmpool/keys
COPY --from=build /opt/dmpool /opt/dmpool
ENV PATH=/opt/dmpool/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/dmpool
VOLUME /var/lib/dmpool
# Stratum, Stratum over TLS, the web role, the regulator's door, metrics with health.
EXPOSE 3333 3334 8080 8443 9090
# An orderly end: the gateway sends its last shares on first. Give it `--stop-timeout 30`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 CMD ["dmpool", "health", "--alive"]
ENTRYPOINT ["dmpool"]
CMD ["run"]
