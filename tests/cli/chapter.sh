# What a network calls images, pictures of an attack, and what it sees in noise: predict, figure, noise.
. "$(dirname "$0")/lib.sh"

# is_png FILE; rows FILE: its lines.
is_png() { [ "$(head -c 4 "$1" | tail -c 3)" = PNG ]; }
rows() { grep -c '' "$1"; }

succeeds "a model" "$PARRY" train --data digits --first 2000 --epochs 2 -o net.onnx --quiet
succeeds "another" "$PARRY" train --data digits --first 2000 --epochs 1 --seed 5 -o other.onnx --quiet
succeeds "pictures" "$PARRY" attack net.onnx --data digits --first 3 --eps 0 --save-images pics --quiet
succeeds "adversaries" "$PARRY" attack net.onnx --data digits --first 3 --attack pgd --eps 0.2 --save-images adv --quiet

# ---- predict
succeeds "predict" "$PARRY" predict net.onnx --data digits --first 200 --json predict.json --csv predict.csv
prints "predict shows the share that is right" "right: "
prints "and how many more there are" "and 190 more"
succeeds "evaluate the same" "$PARRY" evaluate net.onnx --data digits --first 200 --json evaluate.json
between "accuracy is evaluate's" "$(json_number predict.json acc)" "$(json_number evaluate.json clean_acc)" "$(json_number evaluate.json clean_acc)"
between "rows of the CSV" "$(rows predict.csv)" 601 601
holds "its header" grep -qx "image,label,rank,class,name,confidence" predict.csv
holds "ranks by confidence" awk -F, 'NR > 1 { if ($3 > 1 && $6 > last) exit 1; last = $6 }' predict.csv
succeeds "predict photographs" "$PARRY" predict net.onnx pics/adv-00000.png pics/adv-00001.png --top 2
prints "by their files" "adv-00001.png"
holds "two classes each" [ "$(grep -c ' %' out)" -eq 4 ]
succeeds "more classes than there are" "$PARRY" predict net.onnx pics/adv-00000.png --top 50
holds "gives all" [ "$(grep -c ' %' out)" -eq 10 ]
fails "output over the model" 2 "net.onnx" "$PARRY" predict net.onnx --data digits --csv net.onnx

# ---- figure
succeeds "figure" "$PARRY" figure pics/adv-00000.png adv/adv-00000.png --magnify 3 --model net.onnx --json figure.json -o triptych.png
holds "is a PNG" is_png triptych.png
prints "figure says the budget" "grey levels"
prints "and both predictions" "adversarial"
between "Linf of the budget" "$(json_number figure.json linf)" 0.19 0.2001
between "magnification" "$(json_number figure.json magnify)" 3 3
succeeds "absolute" "$PARRY" figure pics/adv-00000.png adv/adv-00000.png --difference absolute -o absolute.png
holds "differs" [ "$(cksum <triptych.png)" != "$(cksum <absolute.png)" ]
fails "no output" 2 "-o" "$PARRY" figure pics/adv-00000.png adv/adv-00000.png
fails "one picture" 2 "missing argument" "$PARRY" figure pics/adv-00000.png -o x.png
fails "no such picture" 1 "nowhere.png" "$PARRY" figure nowhere.png adv/adv-00000.png -o x.png
fails "over a picture that is read" 2 "adv-00000.png is read" "$PARRY" figure pics/adv-00000.png adv/adv-00000.png -o adv/adv-00000.png
fails "a model of another size" 2 "takes images of" "$PARRY" figure triptych.png triptych.png --model net.onnx -o x.png

# ---- noise
succeeds "noise" "$PARRY" noise net.onnx --pairs zip --csv zip.csv --figure zip.png --json zip.json --threads 1
prints "noise has a summary" "> 90 %"
prints "and a line for each of few images" "190     38"
holds "says what was cut" grep -q "15 means and 45 deviations make 15 pairs" err
between "the chapter's 15 pairs" "$(json_number zip.json count)" 15 15
between "rows of the CSV" "$(rows zip.csv)" 151 151
holds "its header" grep -qx "id,class,prediction,sigma,mu" zip.csv
holds "probabilities add up" awk -F, 'NR > 1 { sum[$1] += $3 } END { for (i in sum) if (sum[i] < 0.999 || sum[i] > 1.001) exit 1 }' zip.csv
holds "a figure" is_png zip.png
succeeds "on three threads" "$PARRY" noise net.onnx --pairs zip --csv zip3.csv --figure zip3.png --threads 3 --quiet
holds "the same CSV" cmp zip.csv zip3.csv
holds "the same picture" cmp zip.png zip3.png
succeeds "another seed" "$PARRY" noise net.onnx --pairs zip --csv seed.csv --seed 1 --quiet
holds "other noise" sh -c '! cmp -s zip.csv seed.csv'
succeeds "the grid" "$PARRY" noise net.onnx --top 1 --csv grid.csv --json grid.json
between "all 675 pairs" "$(rows grid.csv)" 676 676
succeeds "two networks under attack" "$PARRY" noise net.onnx other.onnx --mu 50,150 --sigma 20:80:20 --attack pgd --steps 5 --eps 0.1 \
    --csv both.csv --figure both.png --json both.json
prints "say the criterion" "confident:0.9"
succeeds "images of noise as files" "$PARRY" noise net.onnx --mu 100 --sigma 20,90 --attack fgsm --eps 0.1 --save-images noises --quiet
holds "before" is_png noises/noise-00001.png
holds "and after" is_png noises/adv-00001.png
succeeds "two networks' images" "$PARRY" noise net.onnx other.onnx --mu 100 --sigma 20 --save-images noises --quiet
holds "in a folder each" cmp noises/1-net.onnx/noise-00000.png noises/2-other.onnx/noise-00000.png
prints "side by side" "other.onnx"
holds "and columns for them" grep -qx "id,class,prediction,sigma,mu,network,attack" both.csv
between "rows of both, before and after" "$(rows both.csv)" 241 241
name=$(awk -F, 'NR == 2 { print $2 }' grid.csv)
succeeds "which noise is called that" "$PARRY" noise net.onnx --pairs zip --class "$name"
prints "says where it is most probable" "most probable in image"
succeeds "a dataset to fit to" "$PARRY" noise net.onnx --pairs zip --data digits --quiet
fails "no such class" 2 "volcano" "$PARRY" noise net.onnx --pairs zip --class volcano
fails "a range without a step" 2 "step" "$PARRY" noise net.onnx --mu 1:5:0
fails "an empty range" 2 "no numbers" "$PARRY" noise net.onnx --sigma 5:1
fails "no range" 2 "'ten'" "$PARRY" noise net.onnx --sigma ten
fails "no such attack" 2 "pgd" "$PARRY" noise net.onnx --attack pgdd
succeeds "the chapter's order" "$PARRY" noise net.onnx --pairs zip --chapter-order --range 0,255 --mean 100 --csv order.csv
prints "is said" "clipped after preprocessing"
fails "where it makes no sense" 1 "grey levels" "$PARRY" noise net.onnx --pairs zip --quiet --chapter-order
fails "and under an attack that clips" 2 "--no-clip" "$PARRY" noise net.onnx --chapter-order --range 0,255 --attack fgsm
fails "a folder that is not there" 1 "nowhere" "$PARRY" noise net.onnx --figure nowhere/x.png
finish
