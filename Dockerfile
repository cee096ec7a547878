# docker build -t assay .                                  for the CPU
# docker build -t assay --build-arg TORCH=cu128 .          for CUDA 12.8; others: uv pip install --help
# docker run --rm -it --gpus all -v "$PWD:/work" assay     --gpus all: for CUDA alone
FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir build==1.6.1 && python -m build --wheel --outdir /dist

FROM python:3.11-slim-bookworm
ARG TORCH=cpu
COPY --from=wheel /dist /dist
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --torch-backend="$TORCH" /dist/*.whl \
    && rm -r /dist \
    && useradd --create-home --uid 1000 assay
USER 1000
WORKDIR /work
ENV TERM=xterm-256color COLORTERM=truecolor PYTHONUTF8=1
ENTRYPOINT ["assay"]
