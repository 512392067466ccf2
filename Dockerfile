# Two images from one install script:
#
#     docker build --target cpu -t iqgate:cpu .     ONNX Runtime on the CPU
#     docker build --target gpu -t iqgate:gpu .     TensorRT; the host brings NVIDIA's container toolkit
#
# Both run as uid 10001, write to /var/lib/iqgate (a volume) and /tmp alone, and are meant for a
# read-only root file system: docker run --read-only --tmpfs /tmp. Python packages are pinned by
# conf/install/constraints.txt, the base by its tag; append its digest (@sha256:…) where your
# registry is to vouch for it.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS source
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY models models
COPY trainer trainer
COPY conf conf
COPY systemd systemd
COPY docs docs

FROM source AS install-cpu
RUN conf/install/install.sh --extra postgresql /opt/iqgate

FROM source AS install-gpu
# TensorRT's libraries lie on NVIDIA's index
ENV PIP_EXTRA_INDEX_URL=https://pypi.nvidia.com
RUN conf/install/install.sh --extra postgresql --extra tensorrt /opt/iqgate

FROM ${BASE} AS runtime
RUN groupadd --gid 10001 iqgate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/iqgate \
      --shell /usr/sbin/nologin iqgate \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/iqgate
# a container is reached through what is published of it: listen on all its interfaces
ENV PATH=/opt/iqgate/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    IQGATE_DATA_DIR=/var/lib/iqgate \
    IQGATE_RECEIVE__HOST=0.0.0.0 \
    IQGATE_WATCH__HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/iqgate
VOLUME ["/var/lib/iqgate"]
EXPOSE 11112 8642
STOPSIGNAL SIGTERM
# of a container that runs `serve` or `watch`; engines may take minutes to build at the first start
HEALTHCHECK --interval=30s --timeout=10s --start-period=600s --retries=3 \
  CMD ["/opt/iqgate/bin/python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('IQGATE_WATCH__PORT', '8642') + '/readyz', timeout=8)"]
ENTRYPOINT ["/opt/iqgate/bin/iqgate"]
CMD ["serve"]

FROM runtime AS gpu
COPY --from=install-gpu /opt/iqgate /opt/iqgate
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    IQGATE_SCORE__ENGINE=tensorrt \
    IQGATE_SCORE__BATCH_SIZE=64

# the last stage is what is built by default
FROM runtime AS cpu
COPY --from=install-cpu /opt/iqgate /opt/iqgate
