# Two commands to begin with: make notebooks, then make test. Each creates .venv on first use.
PYTHON ?= python3
RUN = .venv/bin/python -m

.PHONY: notebooks test deep lab refresh bench gpu report matrix browser classroom classroom-test hub lint setup

notebooks: setup  ## execute every notebook at TUTORIAL_SCALE into build/
	@$(RUN) tutorial_utils run --out build

test: setup  ## unit tests, notebook hygiene, and every notebook cell by cell
	@$(RUN) pytest

deep: setup  ## lessons as a whole where make test runs a part: on a pretended GPU, and in half precision
	@$(RUN) pytest -m deep tests

lab: setup  ## open JupyterLab on the lessons
	@$(RUN) jupyter lab notebooks

refresh: setup  ## execute the notebooks in place, to commit their new outputs
	@$(RUN) tutorial_utils run --in-place

classroom: hub  ## one server for a class, on Linux: sudo make classroom LEARNERS="anna ben"
	@$(RUN) classroom $(LEARNERS)

classroom-test: hub  ## several learners at once on that server, as root
	@$(RUN) pytest -m '' tests/classroom

hub: setup
	@$(RUN) pip install --quiet --no-build-isolation --constraint constraints.txt --editable .[classroom]

lint: setup  ## what pre-commit checks
	@$(RUN) ruff check . && $(RUN) ruff format --check .

bench: setup  ## speed, as ratios against a baseline of the same run
	@for benchmark in tests/benchmarks/bench_*.py; do .venv/bin/python $$benchmark || exit 1; done

gpu: setup  ## the lessons on a CUDA GPU, and what the published models need there (ten minutes)
	@.venv/bin/python tests/benchmarks/gpu.py

report: setup  ## measure everything (an hour or two) and write docs/report.md
	@.venv/bin/python tests/benchmarks/report.py

matrix: setup  ## which facts hold under the newest and the oldest versions (an hour), into docs/matrix.md
	@$(RUN) pip install --quiet --constraint constraints.txt uv
	@.venv/bin/python tests/benchmarks/matrix.py

browser: setup  ## every lesson in JupyterLab in a real browser; needs Chromium, such as Debian's package
	@$(RUN) pip install --quiet --no-build-isolation --constraint constraints.txt --editable .[browser]
	@$(RUN) pytest -m browser tests/browser

setup:
	@$(PYTHON) -m tutorial_utils.bootstrap
