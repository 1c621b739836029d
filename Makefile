# Each target sets up what it needs, in .venv/ (scripts/setup says what that is), and nothing else on the machine.
PYTHON_FILES = edge firmware_bridge gateway pipelines wayside tests benchmarks
BIN = .venv/bin
# Tests start hundreds of processes: none of them should compile every module anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test lint proof bench lock clean

help: ## Say what there is.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: ## Show a small city working, with faults, and prove the result. ARGS="--minutes 2" and the like are passed on.
	@scripts/setup demo
	@$(BIN)/wayside demo $(ARGS)

test: ## Run the tests (under 5 minutes).
	@scripts/setup dev
	@$(BIN)/pytest $(ARGS)

proof: ## Run the slower proof: random kills, thousands of schedules.
	@scripts/setup dev
	@$(BIN)/pytest -m proof $(ARGS)

lint: ## Check style, types and who imports whom.
	@scripts/setup dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: ## Run the benchmarks: each checks its answer before it times.
	@scripts/setup dev
	@$(BIN)/python -m benchmarks $(or $(NAME),centre) $(ARGS)

lock: ## Choose the packages' versions anew.
	@scripts/setup dev
	@scripts/lock

clean: ## Remove what was set up and made here.
	rm -rf .venv .wayside
