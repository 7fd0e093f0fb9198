# Targets: `daemon` watches, without torch; `trainer` works on retrains too.
# Wheels alone are installed, so no stage needs a compiler; pip stays behind where it was needed.
# Where your index is not PyPI: --secret id=pip,src=pip.conf, and with id=certificates,src=… what it trusts, which
# pip.conf then names as /run/secrets/certificates. Neither stays in a layer.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS builder
# with SOURCE_DATE_EPOCH bytecode is held against its source's content, whatever time a file in a layer has
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 SOURCE_DATE_EPOCH=315532800
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/holdfast
ENV PATH=/opt/pip/bin:$PATH
WORKDIR /source
COPY pyproject.toml constraints.txt ./
# what holdfast needs, by extras: layers that stay as they are until one of these two files changes
RUN printf '%s\n' 'import sys, tomllib' \
    'told = tomllib.load(open("pyproject.toml", "rb"))["project"]' \
    'print(*told["dependencies"], *sum((told["optional-dependencies"][name] for name in sys.argv[1:]), []), sep="\n")' \
    > needs.py
# tests of other packages are a tenth of what they weigh; none of these seven imports its own
ENV TESTS=".*/(matplotlib|numpy|pandas|pyarrow|scipy|sklearn|statsmodels)/(.*/)?tests"

FROM builder AS daemon-packages
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    python needs.py kubernetes notify s3 > needs.txt \
    && pip --python /opt/holdfast/bin/python install --only-binary=:all: -c constraints.txt -r needs.txt \
    && find /opt/holdfast -regextype egrep -regex "${TESTS}" -prune -exec rm -r {} +

FROM builder AS trainer-packages
# torch by itself brings several GB for GPUs; of the CPU's index it is small
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    python needs.py retrain kubernetes notify s3 > needs.txt \
    && pip --python /opt/holdfast/bin/python install --only-binary=:all: --extra-index-url ${TORCH_INDEX} \
       torch==2.13.0 -c constraints.txt -r needs.txt \
    && find /opt/holdfast -regextype egrep -regex "${TESTS}" -prune -exec rm -r {} +

FROM builder AS program
COPY README.md LICENSE ./
COPY docs/runbooks docs/runbooks
COPY monitor monitor
COPY retrain retrain
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    pip --python /opt/holdfast/bin/python install --only-binary=:all: --no-deps --root /program .

FROM python:${PYTHON}-slim AS runtime
LABEL org.opencontainers.image.title="holdfast" \
      org.opencontainers.image.description="Watches deployed machine-learning models, and trains, compresses and proposes better ones." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin holdfast \
    && install -d -o 10001 -g 10001 /data
ENV PATH=/opt/holdfast/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib DO_NOT_TRACK=1
WORKDIR /data
USER 10001:10001
EXPOSE 8700
ENTRYPOINT ["holdfast"]
CMD ["run", "/etc/holdfast/holdfast.yaml"]

FROM runtime AS trainer
COPY --from=trainer-packages /opt/holdfast /opt/holdfast
COPY --from=program /program/opt/holdfast /opt/holdfast

FROM runtime AS daemon
COPY --from=daemon-packages /opt/holdfast /opt/holdfast
COPY --from=program /program/opt/holdfast /opt/holdfast
