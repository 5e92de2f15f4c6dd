# voxmix in a container. Build: docker build -t voxmix .    Use: docker run --rm -u "$(id -u)" -v "$PWD:/data" voxmix demo
# The package index gives torch with CUDA on Linux, gigabytes of it: run with --gpus all. For a CPU build, give an index
# that has one: --build-arg TORCH_INDEX=URL.
FROM python:3.11-slim

ARG TORCH_INDEX=
ARG EXTRAS=all

# torch.compile (--compile) builds with it, on a GPU too.
# hadolint ignore=DL3008  # the base image pins the release
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*

COPY . /src
# hadolint ignore=DL3013  # constraints.txt pins the versions
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --constraint /src/constraints.txt torch \
 && pip install --no-cache-dir --constraint /src/constraints.txt "/src[$EXTRAS]" \
 && rm -rf /src

# Libraries keep their caches where any user may write.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
ENTRYPOINT ["voxmix"]
CMD ["--help"]
