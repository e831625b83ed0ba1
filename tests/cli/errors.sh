# Bad input: one sentence that names the file and what was expected, a non-zero exit status, nothing lost.
. "$(dirname "$0")/lib.sh"

succeeds "a model to abuse" "$PARRY" train --data digits --first 500 --epochs 1 -o good.onnx --quiet
attack() { "$PARRY" attack "$1" --data digits --first 10 --quiet; }

fails "no such model" 1 "missing.onnx" attack missing.onnx
head -c 3000 good.onnx >truncated.onnx
fails "truncated model" 1 "truncated.onnx" attack truncated.onnx
echo "not a model" >text.onnx
fails "text as a model" 1 "text.onnx" attack text.onnx
: >empty.onnx
fails "empty model" 1 "empty.onnx" attack empty.onnx
mkdir folder.onnx
fails "folder as a model" 1 "folder.onnx" attack folder.onnx
fails "no such data" 1 "mnits" env -u PARRY_DATA XDG_CACHE_HOME="$work" "$PARRY" attack good.onnx --data mnits
fails "data that is not here" 1 "parry data fetch mnist" env -u PARRY_DATA XDG_CACHE_HOME="$work" "$PARRY" attack good.onnx --data mnist

mkdir idx
printf '\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\2abcdefgh' >idx/t10k-images-idx3-ubyte
printf '\0\0\10\1\0\0\0\2\1\2' >idx/t10k-labels-idx1-ubyte
fails "model and data that do not fit" 1 "good.onnx" "$PARRY" attack good.onnx --data idx
printf '\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\2abc' >idx/t10k-images-idx3-ubyte
fails "truncated images" 1 "t10k-images-idx3-ubyte" "$PARRY" attack good.onnx --data idx
printf '\1\2\3\4\0\0\0\2\0\0\0\2\0\0\0\2abcdefgh' >idx/t10k-images-idx3-ubyte
fails "wrong magic" 1 "t10k-images-idx3-ubyte" "$PARRY" attack good.onnx --data idx

fails "unwritable model" 1 "no/such/folder" "$PARRY" train --data digits --first 500 --epochs 1 -o no/such/folder/x.onnx
fails "unwritable report, before the work" 1 "no/such" "$PARRY" evaluate good.onnx --data digits --report no/such/r.html
fails "unwritable JSON, before the work" 1 "no/such" "$PARRY" evaluate good.onnx --data digits --json no/such/r.json
fails "full disk" 1 "/dev/full" "$PARRY" train --data digits --first 500 --epochs 1 -o /dev/full --quiet
cp good.onnx kept.onnx
fails "a failed step leaves the old file" 1 "missing.onnx" "$PARRY" harden missing.onnx --data digits -o kept.onnx --quiet
holds "the old file is whole" cmp good.onnx kept.onnx
holds "no temporary files remain" sh -c '! ls | grep -q tmp'

fails "a loss that stops being finite" 1 "finite" "$PARRY" train --data digits --first 500 --epochs 2 --optimiser sgd --lr 1e30 -o nan.onnx --quiet
holds "no model after that" test ! -e nan.onnx
fails "a foreign checkpoint" 1 "text.onnx" "$PARRY" train --data digits --first 500 --epochs 1 -o x.onnx --checkpoint text.onnx --resume --quiet
finish
