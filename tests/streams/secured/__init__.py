"""Tests of the streams on a Kafka with encrypted connections and logins."""
