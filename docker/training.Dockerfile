# What trains, prunes and exports: everything, with PyTorch.
#
#   docker build -f docker/training.Dockerfile -t edgeface-train .
#   docker run --rm --shm-size 4g -v "$PWD:/work" edgeface-train train --data FACES --out runs/dense
#
# PyTorch's default wheel brings CUDA: run with --gpus all where there is one; without, it trains on the CPU.
ARG BASE=debian:12-slim
FROM ${BASE}

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

COPY . /src
# Headless OpenCV needs no libGL.
RUN python3 -m venv /opt/edgeface \
 && /opt/edgeface/bin/pip install --no-cache-dir -c /src/constraints.txt "/src[train,cpu,plot,demo]" \
 && /opt/edgeface/bin/pip uninstall --yes opencv-python \
 && /opt/edgeface/bin/pip install --no-cache-dir -c /src/constraints.txt opencv-python-headless \
 && rm -rf /src

ENV PATH=/opt/edgeface/bin:$PATH EDGEFACE_CACHE=/cache
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["edgeface"]
CMD ["--help"]
