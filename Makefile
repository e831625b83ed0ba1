# parry's two commands, `make demo` and `make test`, and the build underneath. meson does the work.

BUILD ?= build
QUICK ?=
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: all setup demo test test-quick bench install clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) parry

$(BUILD)/build.ninja: | setup
	@meson setup $(BUILD) >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

# Installs the compiler and libraries that are missing (Debian, Ubuntu).
setup:
	@tools/setup

demo: all
	@$(BUILD)/parry demo -o demo $(if $(QUICK),--quick)

test: $(BUILD)/build.ninja
	@ninja -C $(BUILD)
	@tools/run-tests $(BUILD)

test-quick: $(BUILD)/build.ninja
	@ninja -C $(BUILD)
	@tools/run-tests $(BUILD) --suite quick

bench: all
	@ninja -C $(BUILD)
	@bench/run $(BUILD)

install: all
	@$(SUDO) meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
