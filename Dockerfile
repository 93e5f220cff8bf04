# An image that serves an export, without torch and what comes with it. From the root of the repository:
#   docker build -t maskwright .
#   docker run --rm -p 8000:8000 -v ./teeth-export:/export:ro maskwright
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# What predicting with an export imports; the bounds are those of pyproject.toml
RUN pip install \
    "numpy>=2.0" \
    "scipy>=1.13" \
    "opencv-python-headless>=4.13.0.90" \
    "pillow>=10" \
    "tifffile>=2024.8.10" \
    "polars>=1.21" \
    "pydantic>=2.12" \
    "cyclopts>=5.0" \
    "PyYAML>=6.0" \
    "rich>=13" \
    "onnxruntime>=1.20" \
    "starlette>=0.40" \
    "uvicorn>=0.30" \
    "python-multipart>=0.0.18"

COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN pip install --no-deps /source && rm -r /source \
    && useradd --system --uid 10001 --no-create-home maskwright

USER 10001
EXPOSE 8000
VOLUME /export
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]

# SIGTERM, which `docker stop` sends, lets what runs end
ENTRYPOINT ["maskwright", "serve"]
CMD ["/export", "--host", "0.0.0.0", "--port", "8000"]
