"""The Spark session, and the Java process in which Spark runs."""
