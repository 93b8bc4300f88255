"""The Spark session and the Java process that runs it."""
