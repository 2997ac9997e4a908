# Two commands on a fresh machine (python3 with venv, make): `make demo` and `make test`. Each sets itself up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS := cpu,train,plot,demo,rtx,sign,milvus,dev
CONSTRAINTS := $(shell $(PYTHON) -c "import sys; print('constraints.txt' if sys.version_info >= (3, 11) else 'constraints-3.10.txt')")

.PHONY: help install demo test soak lint bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    the whole chain on procedural faces and one real photograph, results in out/demo"
	@echo "make test    style, types and tests"
	@echo "make soak    endurance and faults at full length: two hours (docs/endurance.md)"
	@echo "make bench   the claims about speed, measured"
	@echo "make clean   remove $(VENV) and out"

install: $(BIN)/.installed

# pip, not uv: the CPU build of torch is found by pip only (CONTRIBUTING.md).
$(BIN)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[$(EXTRAS)]"
	@$(BIN)/python -c "import cv2" 2>/dev/null || { \
		echo "opencv-python needs libGL, which is not here: taking opencv-python-headless instead"; \
		$(BIN)/pip uninstall --quiet --yes opencv-python && \
		$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) opencv-python-headless; }
	@touch $@

demo: install
	@rm -rf out/demo
	$(BIN)/edgeface demo --out out/demo

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile

soak: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -v -s --durations=0 --durations-min=1 -m soak tests/endurance

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install
	$(BIN)/python benchmarks/ratio_speed.py
	$(BIN)/python benchmarks/int8_speed.py
	$(BIN)/python benchmarks/prelu.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/gallery_search.py --templates 200000

clean:
	rm -rf $(VENV) out
