# Image of the project's own programs: the order workers and the setup commands. Settings come from the environment;
# nothing secret is in the image.
FROM python:3.11.14-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

# The state folder is made here, so that a new volume mounted on it belongs to the user.
RUN useradd --system --uid 10001 --user-group --no-create-home millrace \
    && install --directory --owner millrace --group millrace /state
COPY agents agents
COPY batch batch
COPY config config
COPY ops ops
COPY stack stack
COPY streams streams
COPY tables tables
COPY pyproject.toml ./
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --editable .

USER millrace
ENV STATE_DIR=/state
VOLUME /state
CMD ["faust", "-A", "streams.orders", "worker", "--web-port", "6066"]
