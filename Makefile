# Every task lives in dev.py; `make test` and `python3 dev.py test` are the same thing. `make` alone lists them.
PYTHON ?= $(shell command -v python3 || command -v python || echo python3)

# Set on some machines; without compiled files every start of a process is several times slower.
export PYTHONDONTWRITEBYTECODE :=

TASKS := help demo test soak coverage lint docs site output reference versions bench install lock clean

.DEFAULT_GOAL := help
.PHONY: $(TASKS)
$(TASKS):
	@$(PYTHON) dev.py $@ $(ARGS)
