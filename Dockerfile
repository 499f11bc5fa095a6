# The contest entry:
#   docker run --gpus all -v testset:/data:ro -v out:/output -w /code --network none IMAGE \
#       python main.py /data/metainfo.csv /output/out.csv
# Without a command it scores the bundled examples and prints a table.
# There is no USER line: it runs as root or as any --user that may write to /output.

# What comes as source alone is built where there is a compiler; the image takes the wheel.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++
COPY requirements-crf.txt .
RUN python -m pip wheel --no-cache-dir --no-deps --disable-pip-version-check \
      --wheel-dir /wheels -r requirements-crf.txt

FROM python:3.11-slim-bookworm

# cuda: for a GPU, and a CPU where there is none.  cpu: the runtime's CPU build, without CUDA, and
# OpenVINO, which runs large models twice as fast where the CPU computes in bf16.
ARG DEVICE=cuda

# Each decode worker would start a pool of BLAS threads that nothing here uses: hence one thread.
# The bytecode is compiled below, so nothing needs to be written beside the code at run time.
# The NVIDIA lines are for runtimes that are told by the image, not by --gpus, what to mount.
ENV ORT_DISABLE_TELEMETRY=1 \
    OPENBLAS_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /code
COPY requirements.txt requirements-cuda.txt requirements-openvino.txt ./
RUN case "$DEVICE" in \
      cuda) beside=requirements-cuda.txt ;; \
      cpu) beside=requirements-openvino.txt && sed -i 's/^onnxruntime-gpu/onnxruntime/' requirements.txt ;; \
      *) echo "DEVICE is '$DEVICE', expected cuda or cpu" >&2; exit 2 ;; \
    esac \
 && python -m pip install --no-cache-dir --root-user-action=ignore --disable-pip-version-check \
      -r requirements.txt -r "$beside"
COPY --from=build /wheels /tmp/wheels
RUN python -m pip install --no-cache-dir --root-user-action=ignore --disable-pip-version-check \
      --no-index /tmp/wheels/*.whl && rm -r /tmp/wheels

COPY weights weights
COPY examples examples
COPY LICENSE main.py ./
COPY scripts/show_table.py scripts/
COPY results/detection.csv results/
COPY synthdet synthdet
# A checkout with a strict umask must not lock out other users.
RUN python -m compileall -q main.py synthdet scripts \
 && find . ! -perm -o=r -exec chmod a+rX {} +

CMD python main.py examples/input.csv /tmp/demo.csv && \
    python scripts/show_table.py /tmp/demo.csv --truth examples/input.csv
