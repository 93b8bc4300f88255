"""The demo, `make demo`: run the whole pipeline on real servers, and prove that its result is correct."""
