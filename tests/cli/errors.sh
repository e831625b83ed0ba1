# Bad input: one sentence that names the file and what was expected, a non-zero exit status, nothing lost.
. "$(dirname "$0")/lib.sh"

succeeds "a model to abuse" "$PARRY" train --data digits --first 500 --epochs 1 -o good.onnx --quiet
attack() { "$PARRY" attack "$1" --data digits --first 10 --quiet; }

fails "no such model" 1 "missing.onnx" attack missing.onnx
fails "no such model, said before the data are looked for" 1 "missing.onnx" env -u PARRY_DATA XDG_CACHE_HOME="$work" "$PARRY" evaluate good.onnx missing.onnx --data mnist --quiet
fails "no such model to harden" 1 "missing.onnx" env -u PARRY_DATA XDG_CACHE_HOME="$work" "$PARRY" harden missing.onnx --data mnist -o h.onnx --quiet
head -c 3000 good.onnx >truncated.onnx
fails "truncated model" 1 "truncated.onnx" attack truncated.onnx
echo "not a model" >text.onnx
fails "text as a model" 1 "text.onnx" attack text.onnx
: >empty.onnx
fails "empty model" 1 "empty.onnx" attack empty.onnx
mkdir folder.onnx
fails "folder as a model" 1 "folder.onnx" attack folder.onnx
fails "no such data" 2 "did you mean 'mnist'" env -u PARRY_DATA XDG_CACHE_HOME="$work" "$PARRY" attack good.onnx --data mnits
for missing in missing.npz missing.npy images.csv missing/folder/ photo.jpg x-images-idx3-ubyte; do
    fails "no such file of data" 1 "parry attack: $missing: there is no such file or folder" "$PARRY" attack good.onnx --data $missing
done
for missing in missing.npz images-missing.npy photo.jpg missing/; do
    fails "no such file in place of --data" 1 "parry predict: $missing: there is no such file or folder" "$PARRY" predict good.onnx $missing
done
fails "weights that are not there, before the data are looked for" 1 "missing.onnx" env -u PARRY_DATA XDG_CACHE_HOME="$work" "$PARRY" train --weights missing.onnx --data mnist -o x.onnx
fails "a dataset to fetch that nobody knows" 2 "did you mean 'resnet50'" "$PARRY" data fetch resnet5
fails "a network to describe" 2 "parry data fetch resnet50" "$PARRY" data info resnet50
fails "data that is not here" 1 "parry data fetch mnist" env -u PARRY_DATA XDG_CACHE_HOME="$work" "$PARRY" attack good.onnx --data mnist

mkdir idx
printf '\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\2abcdefgh' >idx/t10k-images-idx3-ubyte
printf '\0\0\10\1\0\0\0\2\1\2' >idx/t10k-labels-idx1-ubyte
fails "model and data that do not fit" 1 "good.onnx" "$PARRY" attack good.onnx --data idx
printf '\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\2abc' >idx/t10k-images-idx3-ubyte
fails "truncated images" 1 "t10k-images-idx3-ubyte" "$PARRY" attack good.onnx --data idx
printf '\1\2\3\4\0\0\0\2\0\0\0\2\0\0\0\2abcdefgh' >idx/t10k-images-idx3-ubyte
fails "wrong magic" 1 "t10k-images-idx3-ubyte" "$PARRY" attack good.onnx --data idx

printf '\211PNG\r\n\032\n' >picture.png
fails "one photograph to train on" 1 "picture.png: is a file" "$PARRY" train --data picture.png -o x.onnx --quiet
fails "unwritable model" 1 "no/such/folder" "$PARRY" train --data digits --first 500 --epochs 1 -o no/such/folder/x.onnx
fails "unwritable report, before the work" 1 "no/such" "$PARRY" evaluate good.onnx --data digits --report no/such/r.html
fails "unwritable JSON, before the work" 1 "no/such" "$PARRY" evaluate good.onnx --data digits --json no/such/r.json
fails "full disk" 1 "/dev/full" "$PARRY" train --data digits --first 500 --epochs 1 -o /dev/full --quiet
cp good.onnx kept.onnx
fails "a failed step leaves the old file" 1 "missing.onnx" "$PARRY" harden missing.onnx --data digits -o kept.onnx --quiet
holds "the old file is whole" cmp good.onnx kept.onnx
holds "no temporary files remain" sh -c '! ls | grep -q tmp'

# A disk that fills up while an output is written: files may grow to 512 bytes, or 1,024 with some shells.
full() { (trap '' XFSZ; ulimit -f 1; exec "$@"); }
keeps() { # keeps "what" OPTION command...: the option's file is refused for want of space and stays as it was
    what=$1 option=$2; shift 2
    echo old >held
    fails "$what on a full disk" 1 "held: writing failed" full "$@" "$option" held --data digits --quiet
    holds "$what leaves the old file" grep -qx old held
}
keeps "a model" -o "$PARRY" train --first 100 --epochs 1
keeps "a checkpoint" --checkpoint "$PARRY" train --first 100 --epochs 1 -o new.onnx
keeps "a report" --report "$PARRY" evaluate good.onnx --first 10 --attack fgsm
keeps "JSON" --json "$PARRY" evaluate good.onnx --first 10 --attack fgsm --eps 0.1,0.2,0.3
fails "a dataset on a full disk" 1 "saved/images.npy: writing failed" full "$PARRY" attack good.onnx --data digits --first 10 --save saved --quiet
holds "no temporary files remain after that" sh -c '! ls . saved | grep -q tmp && [ -z "$(ls saved)" ]'

# What is read stays, whatever an output is called; links are followed.
fails "JSON onto the model" 2 "good.onnx" "$PARRY" attack good.onnx --data digits --first 10 --json ./good.onnx --quiet
fails "a report onto the model" 2 "good.onnx" "$PARRY" evaluate good.onnx --data digits --first 10 --report good.onnx --quiet
fails "a checkpoint onto the model" 2 "good.onnx" "$PARRY" harden good.onnx --data digits --first 100 --checkpoint good.onnx -o h.onnx --quiet
holds "the model is whole" cmp good.onnx kept.onnx
fails "pictures into a file" 1 "text.onnx" "$PARRY" attack good.onnx --data digits --first 10 --save-images text.onnx --quiet
fails "an empty file name" 2 "--json is empty" "$PARRY" attack good.onnx --data digits --first 10 --json "" --quiet
fails "an empty argument" 2 "empty" "$PARRY" attack "" --data digits --quiet
fails "the model and its JSON in one file" 2 "each needs a file of its own" "$PARRY" train --data digits --first 100 -o one --json ./one
fails "a checkpoint onto the new model" 2 "--checkpoint" "$PARRY" harden good.onnx --data digits -o "$PWD/one" --checkpoint one
fails "the JSON in place of a folder of outputs" 2 "--save" "$PARRY" attack good.onnx --data digits --save one --json one
fails "a report onto the source" 2 "--source" "$PARRY" evaluate kept.onnx --data digits --source good.onnx --report good.onnx
ln good.onnx hard.onnx
fails "a report onto the source under its other name" 2 "--source" "$PARRY" evaluate kept.onnx --data digits --source good.onnx --report hard.onnx
holds "nothing was written" test ! -e one
fails "a model to standard output" 2 "only --json" "$PARRY" train --data digits --first 100 -o -
# What is wrong with the command line is said before anything is loaded; what is wrong in a file is no fault of the line.
for flags in --range=255,0 --range=0,1,2 --std=0 "--mean=1,2,3 --std=1,2" --preprocess=imagnet; do
    fails "$flags, before loading" 2 "p" "$PARRY" attack missing.onnx --data digits $flags --quiet
done
cp good.onnx odd.onnx
echo '{"range": [255, 0]}' >odd.json
fails "an empty range beside the model" 1 '"range" is empty' "$PARRY" info odd.onnx
fails "means for other channels than the model's" 1 "2 means or deviations for 1 channel" "$PARRY" info good.onnx --mean 1,2
fails "an unknown attack, before loading" 2 "did you mean 'pgd'" "$PARRY" evaluate missing.onnx --data digits --attack fgsm,pdg --quiet
fails "a radius too large, before loading" 2 "--eps is 3" "$PARRY" evaluate missing.onnx --data digits --attack fgsm --eps 3 --quiet
fails "an unknown attack" 2 "did you mean 'pgd'" "$PARRY" attack missing.onnx --data digits --attack pdg --quiet
fails "an unknown criterion" 2 "did you mean 'confident'" "$PARRY" attack missing.onnx --data digits --criterion confidnt:0.9 --quiet
fails "a criterion that does not parse" 2 "expected" "$PARRY" evaluate missing.onnx --data digits --attack fgsm --criterion 'and(misclassified' --quiet
fails "a target that does not exist" 2 "no class" "$PARRY" attack good.onnx --data digits --first 10 --target 12 --quiet
fails "a criterion without its target" 2 "--target" "$PARRY" attack good.onnx --data digits --first 10 --criterion targeted --quiet
fails "the 8-bit grid without clipping" 2 "--quantize" "$PARRY" attack good.onnx --data digits --no-clip --quantize --quiet
fails "one model twice" 2 "same file" "$PARRY" evaluate good.onnx ./good.onnx --data digits --first 10
fails "one eps twice" 2 "0.1 twice" "$PARRY" evaluate good.onnx --data digits --first 10 --attack fgsm --eps 0.1,25.5/255 --quiet
fails "one attack twice" 2 "listed twice" "$PARRY" evaluate good.onnx --data digits --first 10 --attack fgsm,fgsm --quiet
fails "an unknown attack to harden with" 2 "did you mean 'pgd'" "$PARRY" harden good.onnx --data digits --attack pdg -o x.onnx --quiet
fails "--resume without --checkpoint" 2 "needs --checkpoint" "$PARRY" harden good.onnx --data digits --first 10 --resume -o x.onnx
holds "before anything is begun" test "$(wc -l <err)" = 1
fails "an unknown architecture, before the data are looked for" 2 "did you mean 'resnet18'" env -u PARRY_DATA XDG_CACHE_HOME="$work" "$PARRY" train --arch ResNet-18 -o x.onnx
fails "an unknown instruction set" 2 "PARRY_MAX_ISA is 'bogus'" env PARRY_MAX_ISA=bogus "$PARRY" attack good.onnx --data digits --first 10 --quiet
fails "bf16 where it is not allowed" 1 "needs a processor with AVX512-BF16" env PARRY_MAX_ISA=avx2 "$PARRY" attack good.onnx --data digits --first 10 --precision bf16 --quiet
fails "training in bf16 where it is not allowed" 1 "needs a processor with AVX512-BF16" env PARRY_MAX_ISA=avx2 "$PARRY" train --data digits --first 10 --precision bf16 -o x.onnx --quiet
fails "an unknown precision" 2 "bf16" "$PARRY" attack good.onnx --data digits --first 10 --precision fp16 --quiet
if "$PARRY" info good.onnx --plan gradient --precision bf16 >out 2>err; then
    holds "the plan says what runs in bf16" grep -q "bf16" out
    succeeds "search in bf16" "$PARRY" attack good.onnx --data digits --first 10 --precision bf16 --json bf16.json --quiet
    holds "the output says so" sh -c 'grep -q "searched in bf16, judged in f32" out && grep -q "\"precision\": \"bf16\"" bf16.json'
    succeeds "training in bf16" "$PARRY" train --data digits --first 100 --epochs 1 --precision bf16 --checkpoint t16.ck -o t16.onnx --json t16.json --quiet
    holds "the history says so" grep -q "\"precision\": \"bf16\"" t16.json
    fails "a checkpoint of the other precision" 1 "settings.precision" "$PARRY" train --data digits --first 100 --epochs 1 --checkpoint t16.ck --resume -o t32.onnx --quiet
    succeeds "the plan of training in bf16" "$PARRY" info t16.onnx --plan training --precision bf16
    holds "it shows what runs in bf16" grep -q "ConvGradW .*bf16" out
    succeeds "bf16 to harden with" "$PARRY" harden good.onnx --data digits --first 100 --method mixed --epochs 1 --precision bf16 -o h16.onnx --json h16.json --quiet
    holds "adversaries and training are both in bf16" test "$(grep -c "\"precision\": \"bf16\"" h16.json)" = 2
else
    holds "there is no bf16 here, and it says so" grep -q "AVX512-BF16" err
fi
succeeds "a known instruction set" env PARRY_MAX_ISA=baseline "$PARRY" attack good.onnx --data digits --first 10 --quiet
cp good.onnx target.onnx
ln -s target.onnx link.onnx
succeeds "harden a model onto itself, through a link" "$PARRY" harden link.onnx --data digits --first 100 --method mixed --epochs 1 -o link.onnx --quiet
holds "the link is still one" test -h link.onnx
if cmp -s target.onnx good.onnx; then fail "the file behind the link is the new model"; else pass; fi
mkdir "it's ünï code"
cp good.onnx "it's ünï code/a b.onnx"
succeeds "spaces, quotes and accents in names" "$PARRY" evaluate "it's ünï code/a b.onnx" --data digits --first 10 --json "it's ünï code/j.json" \
    --report "it's ünï code/r.html" --quiet
holds "the report quotes the command as a shell takes it" grep -qF "&#39;it&#39;\\&#39;&#39;s ünï code/a b.onnx&#39;" "it's ünï code/r.html"
latin=$(printf 'caf\351.onnx')
cp good.onnx "$latin"
succeeds "a name that is not UTF-8" "$PARRY" evaluate "$latin" --data digits --first 10 --json latin.json --quiet
holds "it is printable in the JSON" grep -qF '"caf?.onnx"' latin.json

# Standard output that cannot be written, or was closed by the caller, is an error and never ends up in a file.
if "$PARRY" list attacks >/dev/full 2>err; then fail "standard output on a full disk"; else pass; fi
if "$PARRY" attack good.onnx --data digits --first 10 --json closed.json --quiet >&- 2>err; then fail "standard output closed"; else pass; fi
holds "the JSON holds JSON alone" sh -c 'head -c 1 closed.json | grep -q "{" && ! grep -q "clean accuracy" closed.json'
succeeds "JSON on standard output" "$PARRY" attack good.onnx --data digits --first 10 --json -
holds "it is alone there" sh -c 'head -n 1 out | grep -qx "{" && tail -n 1 out | grep -qx "}" && grep -q "clean accuracy" err'

fails "a loss that stops being finite" 1 "finite" "$PARRY" train --data digits --first 500 --epochs 2 --optimiser sgd --lr 1e30 -o nan.onnx --quiet
holds "no model after that" test ! -e nan.onnx
fails "a foreign checkpoint" 1 "text.onnx" "$PARRY" train --data digits --first 500 --epochs 1 -o x.onnx --checkpoint text.onnx --resume --quiet
finish
