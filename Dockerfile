# Two images from one install script:
#
#     docker build --target cpu -t iqgate:cpu .     ONNX Runtime on the CPU
#     docker build --target gpu -t iqgate:gpu .     TensorRT; the host brings NVIDIA's container toolkit
#
# podman build takes --format docker as well: its own format has no health check.
#
# Both run as uid 10001, write to /var/lib/iqgate (a volume) and /tmp alone, and are meant for a
# read-only root file system. Who may send is for the configuration to say (receive.addresses): by
# default nobody from outside the container.
#
#     docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#       --stop-timeout 60 -v iqgate:/var/lib/iqgate -v ./iqgate.toml:/etc/iqgate/iqgate.toml:ro \
#       -p 11112:11112 -p 127.0.0.1:8642:8642 iqgate:cpu
#
# Python packages are pinned by conf/install/constraints.txt, the base by its tag; append its digest
# (@sha256:…) where your registry is to vouch for it.
ARG BASE=python:3.11.14-slim-bookworm
# a spool in an object store: --build-arg EXTRAS="--extra postgresql --extra s3"
ARG EXTRAS="--extra postgresql"

# What the gate needs comes before the gate, and in a layer of its own: a change of the source leaves
# it where it is, on the machine that builds and on those that pull.
FROM ${BASE} AS libraries-cpu
ARG EXTRAS
WORKDIR /src
COPY pyproject.toml ./
COPY conf/install conf/install
RUN conf/install/install.sh --only-libraries ${EXTRAS} /opt/iqgate

FROM ${BASE} AS libraries-gpu
ARG EXTRAS
WORKDIR /src
COPY pyproject.toml ./
COPY conf/install conf/install
# TensorRT's libraries lie on NVIDIA's index; --build-arg names your mirror of it
ARG NVIDIA_INDEX=https://pypi.nvidia.com
ENV PIP_EXTRA_INDEX_URL=${NVIDIA_INDEX}
RUN conf/install/install.sh --only-libraries ${EXTRAS} --extra tensorrt /opt/iqgate

FROM libraries-cpu AS slim-cpu
RUN conf/install/slim.sh /opt/iqgate

FROM libraries-gpu AS slim-gpu
RUN conf/install/slim.sh /opt/iqgate

FROM ${BASE} AS source
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY models models
COPY trainer trainer
COPY conf conf
COPY systemd systemd
COPY docs docs

FROM libraries-cpu AS install-cpu
COPY --from=source /src /src
RUN DESTDIR=/gate conf/install/install.sh --no-libraries /opt/iqgate

FROM libraries-gpu AS install-gpu
COPY --from=source /src /src
RUN DESTDIR=/gate conf/install/install.sh --no-libraries /opt/iqgate

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
COPY --from=slim-gpu /opt/iqgate /opt/iqgate
COPY --from=install-gpu /gate/opt/iqgate /opt/iqgate
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    IQGATE_SCORE__ENGINE=tensorrt \
    IQGATE_SCORE__BATCH_SIZE=64

# the last stage is what is built by default
FROM runtime AS cpu
COPY --from=slim-cpu /opt/iqgate /opt/iqgate
COPY --from=install-cpu /gate/opt/iqgate /opt/iqgate
