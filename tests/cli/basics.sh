# Help, version, lists, and what happens to a mistyped word.
. "$(dirname "$0")/lib.sh"

succeeds "version" "$PARRY" --version
prints "version" "parry "
prints "version names the library" "oneDNN"
succeeds "help" "$PARRY" --help
commands="train attack harden evaluate predict figure noise info data list help demo"
for command in $commands; do
    prints "overview" "$command"
done
for command in $commands; do
    succeeds "help $command" "$PARRY" help $command
    prints "help $command" "usage: parry $command"
    holds "help $command fits 80 columns" awk 'length($0) > 80 { exit 1 }' out
    succeeds "$command --help" "$PARRY" $command --help
done
succeeds "list attacks" "$PARRY" list attacks
prints "list attacks" fgsm
prints "list attacks" pgd
succeeds "help pgd" "$PARRY" help pgd
prints "help pgd" "--steps"
prints "help pgd" "arXiv:1706.06083"
holds "help pgd fits 80 columns" awk 'length($0) > 80 { exit 1 }' out
succeeds "list architectures" "$PARRY" list architectures
prints "list architectures" simplecnn
succeeds "list losses" "$PARRY" list losses
prints "list losses" mse
succeeds "list methods" "$PARRY" list methods
prints "list methods" finetune
succeeds "data list" "$PARRY" data list
prints "data list" mnist
holds "data list fits 80 columns" sh -c 'PARRY_DATA= XDG_CACHE_HOME=/none "$PARRY" data list | awk "length(\$0) > 80 { exit 1 }"'
succeeds "man page" "$PARRY" help --man
prints "man page" ".TH PARRY 1"

holds "list attacks fits 80 columns" sh -c '"$PARRY" list attacks | awk "length(\$0) > 80 { exit 1 }"'
fails "the name of another thing" 2 "did you mean '--version'" "$PARRY" version
fails "an attack in capitals" 2 "did you mean 'pgd'" "$PARRY" attack x.onnx --attack PGD
fails "two attacks where one is taken" 2 "one attack at a time" "$PARRY" attack x.onnx --attack fgsm,pgd
fails "an option of an attack that is not named" 2 "give --attack pgd" "$PARRY" attack x.onnx --steps 3
fails "an option with one dash" 2 "did you mean --eps?" "$PARRY" attack x.onnx -eps 0.1
fails "no kind to list" 2 "attacks|architectures" "$PARRY" list
fails "no such command" 2 "did you mean 'train'" "$PARRY" trian
fails "no such option" 2 "did you mean --epochs" "$PARRY" train --epocs 3 -o x.onnx
fails "no such attack" 2 "pgd" "$PARRY" attack x.onnx --attack pgdd
fails "no such option of an attack" 2 "did you mean --steps" "$PARRY" attack x.onnx --attack pgd --stepz 3
fails "no such list" 2 "attacks" "$PARRY" list attaks
fails "no such help" 2 "'pgd'" "$PARRY" help pgb
fails "missing argument" 2 "MODEL" "$PARRY" attack
fails "missing value" 2 "--eps needs a value" "$PARRY" attack x.onnx --eps
fails "missing output" 2 "-o" "$PARRY" train
fails "too many words" 2 "unexpected argument" "$PARRY" info a.onnx b.onnx
fails "not a number" 2 "--epochs is 'three'" "$PARRY" train --epochs three -o x.onnx
fails "not whole" 2 "whole number" "$PARRY" train --epochs 2.5 -o x.onnx
fails "not a choice" 2 "linf, l2" "$PARRY" attack x.onnx --norm l7
fails "negative eps" 2 "eps" "$PARRY" attack x.onnx --eps -0.1
fails "eps not finite" 2 "eps" "$PARRY" attack x.onnx --eps inf
fails "eps nan" 2 "eps" "$PARRY" attack x.onnx --eps nan
fails "eps wider than the pixel range" 2 "eps" "$PARRY" attack x.onnx --eps 1.5
"$PARRY" >out 2>err
[ $? -eq 2 ] && grep -q "usage: parry" err && pass || fail "no arguments: usage on standard error, status 2"
finish
