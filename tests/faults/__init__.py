"""Faults on real servers, and the proof that no order is lost or repeated by them."""
