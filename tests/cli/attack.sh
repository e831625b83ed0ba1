# The attack command: criteria, targets, the smallest eps, the 8-bit grid, and what is written.
. "$(dirname "$0")/lib.sh"

succeeds "a model to attack" "$PARRY" train --data digits --first 6000 --epochs 2 --batch 32 -o net.onnx --quiet
attack() { "$PARRY" attack net.onnx --data digits --quiet "$@"; }

# The criterion decides what is counted, and is what the outputs name.
succeeds "a target for each image" attack --first 40 --attack pgd --steps 10 --target next --eps 0.3 --json target.json
prints "the criterion that a target means" "criterion targeted, target next"
prints "its success" "success rate"
between "most images reach their target" "$(json_number target.json success_rate)" 0.5 1
between "none was there before" "$(json_number target.json clean_met)" 0 0.2
succeeds "confident misclassification" attack --first 40 --attack pgd --steps 10 --eps 0.3 --criterion confident:0.9 --json confident.json
succeeds "any misclassification" attack --first 40 --attack pgd --steps 10 --eps 0.3 --json any.json
between "confidence is harder" "$(json_number confident.json success_rate)" 0 "$(json_number any.json success_rate)"
succeeds "the same words twice give the same bytes" attack --first 40 --attack pgd --steps 10 --target next --eps 0.3 --json again.json --threads 1
holds "whatever the threads" cmp target.json again.json

# The smallest eps, image by image.
succeeds "the smallest eps" attack --first 12 --attack fgsm --minimal-eps --eps 0.4 --csv images.csv --json minimal.json
prints "its median" "smallest eps"
between "a median inside the range" "$(json_number minimal.json median)" 0.001 0.4
between "one gradient for each image" "$(json_number minimal.json gradient_queries)" 1 12
holds "a line for each image" test "$(wc -l <images.csv)" -eq 13
holds "the columns" sh -c 'head -n 1 images.csv | grep -q "^index,name,label,target,before,.*,minimal_eps,failed_eps,"'
succeeds "images that nothing fools" attack --first 12 --attack fgsm --minimal-eps --eps 0.0001 --json none.json
prints "they are counted" "met the criterion at no eps up to 0.0001"
holds "and are null" grep -q '"minimal_eps": null' none.json

# One by one where there are few, with the classes before and after and what was changed.
succeeds "one image" attack --first 1 --attack pgd --steps 10 --eps 0.3 -o adv.png --figure triptych.png --json one.json
prints "before and after" "before"
prints "what changed" "grey levels"
holds "the picture" sh -c 'head -c 4 adv.png | grep -q PNG'
holds "the triptych" sh -c 'head -c 4 triptych.png | grep -q PNG'
holds "its cost" grep -q '"sum_levels"' one.json
succeeds "a float array" attack --first 1 --eps 0.3 -o adv.npy
fails "one picture of many images" 2 "--save-images" attack --first 2 -o adv2.png
fails "the adversary over the triptych" 2 "--figure" attack --first 1 -o x.png --figure ./x.png

# What is stored in 8 bits is decoded and judged again; on the grid nothing is lost.
succeeds "pictures of all" attack --first 30 --attack pgd --steps 10 --eps 0.1 --save-images png --save float --quantize --json grid.json
prints "judged again" "as PNG files"
between "on the grid none is lost" "$(json_number grid.json met_as_png)" \
    "$(awk -v s="$(json_number grid.json success_rate)" 'BEGIN { printf "%d", s * 30 + 0.5 }')" 30
succeeds "the pictures again, as a dataset" "$PARRY" evaluate net.onnx --data float --json float.json --quiet
between "they fool the model as often" "$(json_number float.json clean_acc)" \
    "$(json_number grid.json robust_acc)" "$(json_number grid.json robust_acc)"
holds "what they are is written beside them" grep -q 'adversarial against net.onnx: PGD-10, linf eps 0.1, criterion misclassified, on the 8-bit grid' float/dataset.json
holds "and so is the caveat of the images they were made from" grep -q 'digits drawn by parry itself' float/dataset.json
succeeds "off the grid" attack --first 30 --attack fgsm --minimal-eps --eps 0.4 --save-images png --json off.json
between "some do not survive rounding" "$(json_number off.json met_as_png)" 0 29

# A picture without a label is driven away from what the model calls it, and nothing is said about accuracy.
succeeds "a photograph" "$PARRY" attack net.onnx png/adv-00001.png png/adv-00002.png --attack pgd --steps 10 --eps 0.4 --json photo.json --csv photo.csv --quiet
prints "it has no label" "no label"
holds "and no accuracy" grep -q '"robust_acc": null' photo.json
between "it is counted" "$(json_number photo.json unlabelled)" 2 2
holds "its name is in the table" grep -q 'adv-00002.png,-1,' photo.csv

succeeds "help for criteria" "$PARRY" help criteria
prints "every form" "confident:P"
succeeds "the manual page" "$PARRY" help --man
prints "has them too" ".SH CRITERIA"

finish
