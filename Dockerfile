# voxmix on CPU. Build: docker build -t voxmix .    Use: docker run --rm -u "$(id -u)" -v "$PWD:/work" voxmix demo
# For a GPU, build with --build-arg TORCH=https://download.pytorch.org/whl/cu126 and run with --gpus all.
FROM python:3.11-slim

ARG TORCH=https://download.pytorch.org/whl/cpu
ARG EXTRAS=all

COPY . /src
RUN pip install --no-cache-dir --index-url "$TORCH" torch \
 && pip install --no-cache-dir --constraint /src/constraints.txt "/src[$EXTRAS]" \
 && rm -rf /src

# Libraries keep their caches where any user may write.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
ENTRYPOINT ["voxmix"]
CMD ["--help"]
