# make run    a gate on this machine, a sample series sent to it, the verdicts
# make test   install what the tests need and run them, but for the longest, which are:
# make test-training   train networks end to end (some minutes)
# make test-paper   run the published networks at full size (minutes each, several GiB)
# make test-install   install everything into a fresh environment, as the image does (a minute or more)
# make test-faults   processes killed, PostgreSQL stopped, frozen and killed under load (some minutes)
# make test-image   build the image with podman or docker and run it; BASE=… for another base image
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SAMPLE := build/sample

.PHONY: run test test-training test-paper test-install test-image test-faults lint bench clean

run: $(VENV)/service.stamp
	rm -rf $(SAMPLE)
	$(BIN)/python -m trainer phantom $(SAMPLE)
	$(BIN)/iqgate demo $(SAMPLE)

test: $(VENV)/test.stamp lint
	$(BIN)/python -m pytest

test-paper: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m paper

test-training: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m training

test-install: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m install

test-faults: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m faults -s

test-image: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m image

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/test.stamp
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/acknowledgement.py
	$(BIN)/python benchmarks/spool.py
	$(BIN)/python benchmarks/profile_of_a_slice.py
	$(BIN)/python benchmarks/time_to_verdict.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/inference.py

clean:
	rm -rf $(VENV) build dist iqgate-data

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# the service alone, with what simulates the sample: no torch
$(VENV)/service.stamp: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[phantom]'
	touch $@

$(VENV)/test.stamp: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@
