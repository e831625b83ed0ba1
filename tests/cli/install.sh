# The library as another program uses it: installed into a folder, found by pkg-config, its headers in C and C++, only parry_* exported, and
# the examples compiled against it, shared and static, and run.
. "$(dirname "$0")/lib.sh"

root="$work/root"
succeeds "install" meson install -C "$PARRY_BUILD" --no-rebuild --quiet --destdir "$root"
library=$(find "$root" -name libparry.so)
if [ -z "$library" ]; then fail "libparry.so is installed"; finish; fi
PKG_CONFIG_PATH=$(dirname "$library")/pkgconfig
PKG_CONFIG_SYSROOT_DIR=$root
LD_LIBRARY_PATH=$(dirname "$library")
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH
holds "the manual page is installed" test -n "$(find "$root" -name parry.1)"
succeeds "the version that pkg-config states" pkg-config --modversion parry
prints "the version" "$("$PARRY" --version | sed 's/^parry \([0-9.]*\),.*/\1/')"

nm -D --defined-only "$library" >symbols
holds "symbols are exported" grep -q " parry_attack_run$" symbols
if grep -v " parry_[a-z0-9_]*$" symbols >out; then fail "only parry_* is exported"; else pass; fi

flags=$(pkg-config --cflags parry)
echo '#include <parry/parry.h>' >header.c
succeeds "the headers in C11" cc -std=c11 -Wall -Wextra -Werror -pedantic -fsyntax-only $flags header.c
if command -v c++ >/dev/null; then
    succeeds "the headers in C++" c++ -x c++ -std=c++11 -Wall -Wextra -Werror -pedantic -fsyntax-only $flags header.c
fi

# Noise under MNIST's names is enough to run on.
mkdir -p data/mnist
for split in train t10k; do
    { printf '\0\0\10\3\0\0\2\130\0\0\0\34\0\0\0\34'; head -c 470400 /dev/urandom; } >data/mnist/$split-images-idx3-ubyte
    { printf '\0\0\10\1\0\0\2\130'; i=0; while [ $i -lt 60 ]; do printf '\0\1\2\3\4\5\6\7\10\11'; i=$((i + 1)); done; } >data/mnist/$split-labels-idx1-ubyte
done
export PARRY_DATA="$work/data"
succeeds "a model" "$PARRY" train --data mnist --epochs 1 -o cnn.onnx --quiet
for example in attack batches; do
    source="$PARRY_SOURCE/examples/$example.c"
    succeeds "compile $example" cc -std=c11 -Wall -Wextra -Werror "$source" -o $example $flags $(pkg-config --libs parry)
    succeeds "run $example" ./$example cnn.onnx
    cp out shared.txt
    mkdir -p static && mv "$(dirname "$library")"/libparry.so* static/
    succeeds "compile $example, static" cc -std=c11 "$source" -o $example-static $flags $(pkg-config --libs --static parry)
    succeeds "run $example, static" ./$example-static cnn.onnx
    holds "both print the same" cmp out shared.txt
    mv static/libparry.so* "$(dirname "$library")/"
    fails "$example without its argument" 2 "usage" ./$example
    fails "$example without its file" 1 "missing.onnx" ./$example missing.onnx
done
finish
