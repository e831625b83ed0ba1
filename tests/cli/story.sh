# The story on built-in digits, small: train, attack, harden, evaluate; the same bytes for any number of threads; a checkpoint after Ctrl-C.
. "$(dirname "$0")/lib.sh"

small="--data digits --first 16000"
succeeds "train" "$PARRY" train --arch simplecnn $small --epochs 2 --seed 3 -o cnn.onnx --json train.json
prints "train" "clean accuracy"
between "training works" "$(json_number train.json clean_acc)" 0.8 1
succeeds "train on one thread" "$PARRY" train $small --epochs 1 --seed 3 --threads 1 -o one1.onnx --quiet

succeeds "train on from a file's weights" "$PARRY" train --arch simplecnn --weights cnn.onnx --data digits --first 640 --epochs 1 --lr 1e-5 \
    -o on.onnx --json on.json
between "they were taken over" "$(json_number on.json clean_acc)" 0.8 1
fails "train from another architecture's weights" 1 "is not a resnet20: 'conv1'" "$PARRY" train --arch resnet20 --weights cnn.onnx --data digits \
    --first 64 -o never.onnx --quiet

succeeds "train on two threads with a checkpoint" "$PARRY" train $small --epochs 1 --seed 3 --threads 2 -o one.onnx --checkpoint half.ckpt --quiet
holds "a checkpoint was written" test -s half.ckpt
holds "the same bytes for one and two threads" cmp one.onnx one1.onnx
succeeds "train with another seed" "$PARRY" train $small --epochs 1 --seed 4 -o other.onnx --quiet
if cmp -s one.onnx other.onnx; then fail "another seed gives another network"; else pass; fi

images="--data digits --first 300"
succeeds "attack" "$PARRY" attack cnn.onnx $images --attack fgsm --eps 0.3 --save-images pngs --save adv --json attack.json
between "the attack works" "$(json_number attack.json robust_acc)" 0 0.6
between "inside the ball" "$(json_number attack.json max_norm)" 0 0.3000001
holds "pictures are PNG files" sh -c 'test $(ls pngs | wc -l) -eq 300 && head -c 4 pngs/adv-00007.png | grep -q PNG'
succeeds "adversaries are a dataset" "$PARRY" evaluate cnn.onnx --data adv --json stale.json
between "they fool again when read back" "$(json_number stale.json clean_acc)" "$(json_number attack.json robust_acc)" "$(json_number attack.json robust_acc)"
succeeds "pgd with its options" "$PARRY" attack cnn.onnx $images --attack pgd --steps 5 --restarts 2 --no-random-start --eps 0.2 --norm linf
succeeds "pgd in l2" "$PARRY" attack cnn.onnx $images --attack pgd:steps=5 --norm l2 --eps 2 --json l2.json
between "inside the l2 ball" "$(json_number l2.json max_norm)" 0 2.000001
succeeds "eps as a fraction" "$PARRY" attack cnn.onnx $images --eps 8/255
succeeds "eps 0 changes nothing" "$PARRY" attack cnn.onnx $images --eps 0 --json zero.json
between "eps 0" "$(json_number zero.json robust_acc)" "$(json_number zero.json clean_acc)" "$(json_number zero.json clean_acc)"

for method in finetune mixed pgd; do
    succeeds "harden $method" "$PARRY" harden cnn.onnx --data digits --first 500 --method $method --epochs 1 --eps 0.2 -o $method.onnx --quiet
done
succeeds "harden pgd, short, keeping the weights" "$PARRY" harden cnn.onnx --data digits --first 200 --method pgd --preset short --keep-weights \
    --epochs 1 -o kept.onnx --quiet
succeeds "info shows the lineage" "$PARRY" info mixed.onnx
prints "info" "mixed"
for plan in inference gradient training; do
    succeeds "plan for $plan" "$PARRY" info cnn.onnx --plan $plan
    if grep -q REFERENCE out; then fail "plan for $plan: a reference kernel of the library is used"; else pass; fi
done
succeeds "info --dot" "$PARRY" info cnn.onnx --dot
prints "info --dot" digraph

succeeds "evaluate" "$PARRY" evaluate cnn.onnx mixed.onnx $images --attack fgsm,pgd:steps=5:first=100 --eps 0.1,0.2 --source cnn.onnx --curve 50 \
    --report report.html --json result.json
prints "evaluate" "PGD-5"
prints "evaluate says which images" "first 100"
holds "the report is there" grep -q "</html>" report.html
if grep -Eq "(src|href)=\"?https?:" report.html; then fail "the report loads from elsewhere"; else pass; fi
succeeds "evaluate on one thread" "$PARRY" evaluate cnn.onnx mixed.onnx $images --attack fgsm,pgd:steps=5:first=100 --eps 0.1,0.2 \
    --source cnn.onnx --curve 50 --json result1.json --threads 1 --quiet
holds "the same JSON for one and two threads" cmp result.json result1.json
succeeds "evaluate without an attack" "$PARRY" evaluate cnn.onnx $images --json clean.json
between "clean accuracy alone" "$(json_number clean.json clean_acc)" 0.8 1

# Ctrl-C leaves a checkpoint from which the same bytes come out.
"$PARRY" train $small --epochs 2 --seed 3 -o late.onnx --checkpoint late.ckpt --quiet >out 2>err &
pid=$!
sleep 0.4
kill -INT $pid 2>/dev/null
wait $pid
code=$?
if [ $code -eq 130 ]; then
    pass
    holds "no partial model" test ! -e late.onnx
    # "interrupted in epoch E of N, after step S of T; ..."
    where=$(sed -n 's/.*in epoch \([0-9]*\) of \([0-9]*\), after step \([0-9]*\) of \([0-9]*\).*/\1 \2 \3 \4/p' err)
    if [ -n "$where" ]; then
        set -- $where
        succeeds "the network so far" "$PARRY" train $small --epochs 2 --seed 3 -o sofar.onnx --checkpoint late.ckpt --so-far --quiet
        succeeds "is described" "$PARRY" info sofar.onnx
        steps=", and $3 of $4 steps of epoch $1"
        [ "$3" -gt 0 ] || steps=
        holds "as far as it got" grep -qx "  stage 1     train on digits, epochs: $(($1 - 1)) of $2$steps" out
    fi
    succeeds "resume" "$PARRY" train $small --epochs 2 --seed 3 -o late.onnx --checkpoint late.ckpt --resume --quiet
    holds "resumed training gives the same bytes" cmp cnn.onnx late.onnx
elif [ $code -eq 0 ]; then
    echo "training ended before the interrupt: not tested"
else
    fail "interrupt: exit status $code"
fi
finish
