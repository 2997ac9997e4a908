# What runs on a device: the runtime and the command line, without PyTorch.
#
#   docker build -f docker/device.Dockerfile -t edgeface .
#   docker run --rm -v "$PWD:/work" -v edgeface-cache:/cache edgeface identify masked.bundle street.jpg --gallery people.db
#
# x86 or ARM CPU: as it stands. NVIDIA x86: BASE an image of NVIDIA's with TensorRT, EXTRAS=tensorrt, run with --gpus all.
# Jetson: BASE NVIDIA's l4t-jetpack image of the device's JetPack, EXTRAS=tensorrt, run with --runtime nvidia.
ARG BASE=debian:12-slim
FROM ${BASE}
ARG EXTRAS=cpu

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

COPY . /src
# The system's packages are seen: JetPack's TensorRT is one of them. Headless OpenCV needs no libGL.
RUN python3 -m venv --system-site-packages /opt/edgeface \
 && constraints=$(python3 -c "import sys; print('constraints.txt' if sys.version_info >= (3, 11) else 'constraints-3.10.txt')") \
 && /opt/edgeface/bin/pip install --no-cache-dir -c "/src/$constraints" "/src[${EXTRAS}]" \
 && /opt/edgeface/bin/pip uninstall --yes opencv-python \
 && /opt/edgeface/bin/pip install --no-cache-dir -c "/src/$constraints" opencv-python-headless \
 && rm -rf /src

# Engines and hashes live outside the image, so its root may be read-only.
ENV PATH=/opt/edgeface/bin:$PATH EDGEFACE_CACHE=/cache
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["edgeface"]
CMD ["doctor"]
