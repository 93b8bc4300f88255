"""The lake on real servers, from the commit in the database to Gold."""
