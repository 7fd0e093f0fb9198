# Targets: `daemon` watches, without torch; `trainer` works on retrains too.
# Wheels alone are installed, so no stage needs a compiler.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/holdfast
ENV PATH=/opt/holdfast/bin:$PATH
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY docs/runbooks docs/runbooks
COPY monitor monitor
COPY retrain retrain

FROM builder AS daemon-packages
RUN pip install --only-binary=:all: -c constraints.txt '.[kubernetes,notify,s3]'

FROM builder AS trainer-packages
# torch by itself brings several GB for GPUs; of the CPU's index it is small
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --only-binary=:all: --extra-index-url ${TORCH_INDEX} torch==2.13.0 -c constraints.txt '.[retrain,kubernetes,notify,s3]'

FROM python:${PYTHON}-slim AS runtime
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

FROM runtime AS daemon
COPY --from=daemon-packages /opt/holdfast /opt/holdfast
