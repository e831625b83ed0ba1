# parry's two commands, `make demo` and `make test`, and the build underneath. meson does the work.

BUILD ?= build
QUICK ?=
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# Builds $(1), without a word when there is nothing to do.
build = ninja -C $(BUILD) -n $(1) | grep -q "no work to do" || ninja -C $(BUILD) $(1)

.PHONY: all setup demo test test-quick bench install clean

all: $(BUILD)/build.ninja
	@$(call build,parry)

$(BUILD)/build.ninja: | setup
	@meson setup $(BUILD) >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

# Installs the compiler and libraries that are missing (Debian, Ubuntu).
setup:
	@tools/setup

demo: all
	@$(BUILD)/parry demo -o demo $(if $(QUICK),--quick)

test: $(BUILD)/build.ninja
	@$(call build)
	@tools/run-tests $(BUILD)

test-quick: $(BUILD)/build.ninja
	@$(call build)
	@tools/run-tests $(BUILD) --suite quick

bench: all
	@$(call build)
	@bench/run $(BUILD)

# With DESTDIR= into that folder, as packagers do; else where meson was told, /usr/local.
install: $(BUILD)/build.ninja
	@$(call build)
	@$(if $(DESTDIR),,$(SUDO)) meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir "$(abspath $(DESTDIR))")
	@$(if $(DESTDIR),,$(SUDO) ldconfig)

clean:
	rm -rf $(BUILD)
