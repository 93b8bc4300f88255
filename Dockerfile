# Images of the project's own programs: of the workers and the setup commands, and (`--target lake`) of the lake's jobs,
# which need Java and Spark's jars. Settings come from the environment; nothing secret is in the images.
FROM python:3.11.14-slim-bookworm AS program

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

ENV STATE_DIR=/state
VOLUME /state

# Only this stage has Maven and a compiler.
FROM program AS lake-jars
RUN apt-get update && apt-get install --yes --no-install-recommends maven openjdk-17-jdk-headless
RUN mv "$(python -m stack.artifacts.lake /cache)" /jars

FROM program AS lake
RUN apt-get update && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/*
COPY --from=lake-jars /jars /jars
ENV SPARK_JARS=/jars SPARK_LOCAL_DIRS=/state/spark SPARK_CLASS_DATA=false LOG_DIR=/state/logs
USER millrace
CMD ["millrace", "lake", "run", "--every"]

FROM program AS workers
USER millrace
CMD ["faust", "-A", "streams.orders", "worker", "--web-port", "6066"]
