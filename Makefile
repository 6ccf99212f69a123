# Two commands to begin with: make notebooks, then make test. Each creates .venv on first use. `make` alone lists all.
# LIGHT=1 leaves out TensorFlow, Keras and lesson 2; TORCH=cpu takes torch's builds without CUDA. .venv remembers both.
PYTHON ?= python3
RUN = .venv/bin/python -m
SET_UP = "$(PYTHON)" -Es -m tutorial_utils.bootstrap

# What else is configured for Python on this machine (PYTHONPATH, PYTEST_ADDOPTS and so on) is meant for other projects.
KEPT = PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONIOENCODING PYTHONPYCACHEPREFIX PYTHONUNBUFFERED PYTHONUTF8
unexport $(filter-out $(KEPT),$(filter PYTHON% PYTEST_%,$(.VARIABLES)))

# As LANGUAGE=zh behind make; a variable of this name in the environment is the system's, and has other values.
SPOKEN = $(if $(findstring command line,$(origin LANGUAGE)),--language $(LANGUAGE))

.PHONY: help notebooks test deep lab lab-page editions site translations refresh bench gpu report matrix mutants browser grading classroom classroom-test hub lint setup

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' Makefile | expand -t 24

notebooks: setup  ## execute every notebook at TUTORIAL_SCALE into build/; LANGUAGE=zh in Chinese, as with lab and editions
	@$(RUN) tutorial_utils run --out build $(SPOKEN)

test: setup  ## unit tests, notebook hygiene, and every notebook cell by cell
	@$(RUN) pytest

deep:  ## lessons as a whole where make test runs a part: changed, on a pretended GPU, and in half precision
	@$(SET_UP) grading onnx lesson2
	@$(RUN) pytest -m deep tests

lab: setup  ## open JupyterLab on your own copies of the lessons, in work/; EDITION=instructor for a teacher's
	@$(RUN) tutorial_utils lab --edition $(or $(EDITION),student) $(SPOKEN)

editions: setup  ## the lessons for learners, for teachers, and as slides, into build/editions/
	@$(RUN) tutorial_utils editions $(SPOKEN)

translations: setup  ## bring the catalogues in translations/ up to date, and say what is due to be translated
	@$(RUN) tutorial_utils translations

site: lab-page  ## the course as pages to read in a browser, with the lab, in every language, into build/site/
	@$(RUN) tutorial_utils site

refresh: setup  ## execute the notebooks in place, to commit their new outputs
	@$(RUN) tutorial_utils run --in-place

lab-page:  ## the models live in a web page: build/lab.html, and build/site/lab/ for a server
	@$(SET_UP) onnx site lesson2
	@$(RUN) tutorial_utils lab-page

classroom: hub  ## one server for a class, on Linux: sudo make classroom LEARNERS="anna ben"
	@.venv/bin/python -B -m classroom start $(LEARNERS)

classroom-test: hub  ## several learners at once on that server, as root
	@.venv/bin/python -B -m pytest -p no:cacheprovider -m '' tests/classroom

hub:  ## install what a class's server needs, for make classroom
	@$(SET_UP) classroom lesson2
	@.venv/bin/python -B -m classroom install

lint: setup  ## what pre-commit checks
	@$(RUN) ruff check . && $(RUN) ruff format --check .

bench: setup  ## speed, as ratios against a baseline of the same run
	@for benchmark in tests/benchmarks/bench_*.py; do .venv/bin/python $$benchmark || exit 1; done

gpu: setup  ## the lessons on a CUDA GPU, and what the published models need there (ten minutes)
	@.venv/bin/python tests/benchmarks/gpu.py

report: setup  ## measure everything (an hour or two) and write docs/report.md
	@.venv/bin/python tests/benchmarks/report.py

matrix: setup  ## which facts hold under the newest and the oldest versions (an hour), into docs/matrix.md
	@.venv/bin/python tests/benchmarks/matrix.py

mutants: setup  ## which faults the lessons' facts notice (half an hour or two): make mutants LESSONS="01 03" WORDS="rollout mask"
	@.venv/bin/python tests/mutants/mutants.py --lessons $(LESSONS) --words $(WORDS)

browser:  ## every lesson in JupyterLab, and the lab's page, in a real browser; needs Chromium, such as Debian's package
	@$(SET_UP) browser lesson2 onnx site
	@$(RUN) pytest -m 'browser or deep' tests/browser tests/unit/test_web_export.py

grading:  ## install nbgrader, which gives points for learners' copies, and try it on the lessons
	@$(SET_UP) grading lesson2
	@$(RUN) pytest -m '' tests/unit/test_grading.py

setup:
	@$(SET_UP)
