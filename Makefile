# make demo    the main job from nothing, with a transcript; ARGS=--keep leaves it running
# make test    all tests
# make check   style, types, import contracts, documents
# make bench   measurements, written to bench/results/
# make coverage-edge  ONNX's operator cases that edge-arm passes, and every other one with its reason
# make bench-import   every public model through its importer, fetched into the user's cache
# make fuzz-import    10,000 damaged files of each kind through the import
# make bench-edge     real models through edge-arm, fetched into the user's cache, beside what others make of them
# make coverage-coreml  the same for coreml; make bench-coreml: the same models through it
# make hw-test-edge-arm  edge-arm's bundles on an emulated Arm computer, and on the one that EDGE_ARM_HOST names
# make bench-lowering  tree ensembles as tensor operators, beside onnxruntime's operator and hummingbird-ml
# make bench-quantization  real models under every scheme of edge-arm, and MLPerf Tiny's nets beside their reference files
# make bench-coreml-peers  other converters of ONNX to Core ML beside ours, on the same cases
# make oracle-coreml  Apple's own tests of its converter, against our evaluator, in an environment with torch and TensorFlow
# make hw-test-winml  winml's bundles with the Windows build of onnxruntime, under Wine or on Windows, there with DirectML too
# make hw-test-coreml  on a Mac: Core ML beside the evaluator, by compute unit
# make bench-onnx     real models through cloud and winml, in every precision and for every Windows
# make bench-serve    pack serve beside MLServer and a hand-written FastAPI server; make bench-score: beside a plain loop
# make bench-fpga  networks and an ensemble on FPGAs, placed from two seeds, beside hls4ml and conifer; PACK_TORCH names a Python with torch
# make docs    the documents' blocks, executed
# make bench-fpga-designs  how many cells synthesised designs take, which estimates are made from
# make hw-test-fpga   a board with an FPGA on a serial port: FPGA_PORT and FPGA_BUNDLE
# make toolchains       the environments of torch, tensorflow and hls4ml, once; tests need them
# make toolchain-locks  renews the pins that those are made from
SHELL := /bin/sh
UV := .ci/uv
PYTHON := .venv/bin/python
RUNTIME := --extra pack --extra sklearn --extra mlflow --extra tflite --extra onnxruntime --extra litert --extra fleet
DEBIAN := mosquitto chromium docker-registry gcc-arm-none-eabi libnewlib-arm-none-eabi iverilog g++ mono-mcs mono-runtime kotlin default-jre-headless postgresql skopeo buildah

.PHONY: demo test check oracle-coreml hw-test-coreml hw-test-winml bench bench-import fuzz-import bench-coreml bench-coreml-peers bench-edge bench-lowering bench-quantization coverage-coreml coverage-edge hw-test-edge-arm hw-test-fpga docs environment development toolchains toolchain-locks bench-onnx bench-serve bench-score bench-fpga bench-fpga-designs

demo: environment
	$(PYTHON) examples/digits/demo.py $(ARGS)

test: development toolchains
	.ci/debian $(DEBIAN)
	$(PYTHON) -m pytest -n 2 --dist loadfile $(ARGS)

check: development toolchains
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.ci/debian docker-registry iverilog g++
	$(PYTHON) -m pytest -q -n 2 tests/docs
	$(UV) run --quiet --locked --isolated --no-default-groups --extra pack pack --help >/dev/null
	$(UV) run --quiet --locked --isolated --no-default-groups pack-agent --help >/dev/null

bench: development
	$(PYTHON) bench/start.py

bench-import: development
	$(PYTHON) -m bench.importing $(ARGS)

fuzz-import: development
	$(PYTHON) -m bench.fuzz_import $(ARGS)

bench-edge: development
	$(PYTHON) -m bench.edge $(ARGS)

bench-lowering: development
	$(PYTHON) -m bench.lowering $(ARGS)

bench-quantization: development
	$(PYTHON) -m bench.quantization $(ARGS)
	$(PYTHON) -m bench.quantization_accuracy
	$(PYTHON) -m bench.mlperf_tiny $(ARGS)

bench-coreml-peers: development
	$(PYTHON) -m bench.coreml_peers $(ARGS)

oracle-coreml:
	$(UV) venv --quiet --allow-existing --seed --python 3.11 .uv/oracle
	PIP_EXTRA_INDEX_URL="$${PIP_EXTRA_INDEX_URL:-https://download.pytorch.org/whl/cpu}" .uv/oracle/bin/python -m pip install --quiet --retries 1 -r tests/targets/coreml/oracle/requirements.txt
	.uv/oracle/bin/python -m bench.coreml_oracle $(ARGS)

hw-test-coreml: development
	$(PYTHON) -m pytest -s hw_tests/coreml $(ARGS)

coverage-edge: development
	$(PYTHON) -m bench.coverage_edge $(ARGS)

hw-test-winml: development
	.ci/debian wine64 gcc-mingw-w64-x86-64
	$(PYTHON) -m pytest -rs hw_tests/winml $(ARGS)

hw-test-edge-arm: development
	.ci/debian qemu-user-static gcc-arm-none-eabi libnewlib-arm-none-eabi
	$(PYTHON) -m pytest -rs hw_tests/edge_arm $(ARGS)

bench-onnx: development
	$(PYTHON) -m bench.onnx_targets $(ARGS)

bench-serve: development
	.ci/debian wrk
	$(PYTHON) -m bench.serve $(ARGS)

bench-score: development
	$(PYTHON) -m bench.score $(ARGS)

hw-test-fpga: development
	$(PYTHON) -m pytest -rs hw_tests/fpga $(ARGS)

bench-fpga-designs: development
	$(PYTHON) -m bench.fpga_designs $(ARGS)

bench-fpga: development
	.ci/debian iverilog g++ nlohmann-json3-dev
	$(PYTHON) -m bench.fpga $(ARGS)

docs: development toolchains
	.ci/debian docker-registry iverilog g++
	$(PYTHON) -m pytest -q -n 2 tests/docs

# What a user installs; nothing is taken away that `development` brought.
environment:
	$(UV) sync --quiet --locked --inexact --no-default-groups --group examples $(RUNTIME)

development:
	$(UV) sync --quiet --locked $(RUNTIME) --extra parquet --extra oci --extra https --extra keyring --extra s3 --extra hf --extra serve \
		--extra boosters --extra coreml --extra fpga --extra uart --extra postgresql

# In the user's data folder, so that only the first run on a machine installs anything.
toolchains: development
	.venv/bin/pack toolchain install torch tensorflow hls4ml --output tag >/dev/null

# The pins keep to ours where the frameworks let them.
toolchain-locks:
	ours=$$(mktemp) && \
	$(UV) export --quiet --locked --no-hashes --no-emit-project --no-default-groups --extra pack >"$$ours" && \
	for wanted in packager/toolchains/*.in; do \
		$(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --upgrade \
			--constraints "$$ours" "$$wanted" --output-file "$${wanted%.in}.txt" || exit 1; \
	done; rm -f "$$ours"
