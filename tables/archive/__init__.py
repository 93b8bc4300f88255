"""The archive of raw change records: conversion to Parquet, and the sink that writes the objects."""
