# Photographs as they lie in a folder: by class, with a table, alone; and what is wrong with them in one sentence.
. "$(dirname "$0")/lib.sh"

succeeds "a model" "$PARRY" train --data digits --first 2000 --epochs 2 -o net.onnx --quiet
succeeds "pictures" "$PARRY" attack net.onnx --data digits --first 30 --eps 0 --save-images pics --save saved --json arrays.json --quiet
clean=$(json_number arrays.json clean_acc)

# The same images by a table, and by class folders, have the same accuracy as the arrays they come from.
labels=$(od -An -v -t d8 -j 128 saved/labels.npy | tr -s ' \n' ' ')
i=0
echo "file,label" >table.csv
for label in $labels; do
    name=$(printf 'adv-%05d.png' $i)
    echo "$name,$label" >>table.csv
    mkdir -p "classes/$label"
    cp "pics/$name" "classes/$label/$name"
    i=$((i + 1))
done
succeeds "a folder with a named table" "$PARRY" attack net.onnx pics --labels table.csv --eps 0 --json table.json --quiet
between "accuracy by table" "$(json_number table.json clean_acc)" "$clean" "$clean"
sed '2,$s,^,elsewhere/,' table.csv >moved.csv
succeeds "a table with other folders" "$PARRY" evaluate net.onnx pics --labels moved.csv --json moved.json --quiet
between "accuracy by file names" "$(json_number moved.json clean_acc)" "$clean" "$clean"
sed 's,elsewhere/adv-00001,elsewhere/adv-00000,' moved.csv >twice.csv
succeeds "a table with one name twice" "$PARRY" predict net.onnx pics --labels twice.csv --show 0 --quiet
holds "labels neither" grep -q "labels 28 of 30 pictures" err
cp table.csv pics/labels.csv
succeeds "a folder with its own table" "$PARRY" evaluate net.onnx --data pics --json own.json --quiet
between "accuracy by its own table" "$(json_number own.json clean_acc)" "$clean" "$clean"
rm pics/labels.csv
succeeds "class folders" "$PARRY" evaluate net.onnx classes --json folders.json --quiet
between "accuracy by folders" "$(json_number folders.json clean_acc)" "$clean" "$clean"
mkdir -p splits && cp -r classes splits/val && mkdir -p splits/train/3
succeeds "split folders" "$PARRY" evaluate net.onnx --data splits --json splits.json --quiet
between "accuracy of the split" "$(json_number splits.json clean_acc)" "$clean" "$clean"
echo "a note" >classes/notes.txt
succeeds "other files are passed over" "$PARRY" evaluate net.onnx classes
holds "and counted" grep -q "1 file that is no picture ignored (notes.txt)" err
succeeds "a few only" "$PARRY" evaluate net.onnx classes --first 5 --json five.json --quiet
between "their count" "$(json_number five.json count)" 5 5
succeeds "the first of class folders" "$PARRY" predict net.onnx classes --first 5 --csv five.csv --quiet
between "are of as many classes" "$(tail -n +2 five.csv | cut -d/ -f1 | sort -u | wc -l)" 5 5
succeeds "all of them" "$PARRY" predict net.onnx classes --top 1 --csv all.csv --quiet
between "are all there once" "$(tail -n +2 all.csv | cut -d, -f1 | sort -u | wc -l)" 30 30

for pair in x_test:y_test X:y some:some-labels other:other_labels images2:labels2; do
    cp saved/images.npy "${pair%:*}.npy"
    fails "no labels beside ${pair%:*}.npy" 1 "its labels are missing" "$PARRY" evaluate net.onnx --data "${pair%:*}.npy" --quiet
    cp saved/labels.npy "${pair#*:}.npy"
    succeeds "labels in ${pair#*:}.npy" "$PARRY" evaluate net.onnx --data "${pair%:*}.npy" --json pair.json --quiet
    between "their accuracy" "$(json_number pair.json clean_acc)" "$clean" "$clean"
    rm "${pair#*:}.npy"
done
fails "labels are no images" 1 "name a file of images" "$PARRY" evaluate net.onnx --data saved/labels.npy --quiet
fails "many images are no photograph" 1 "named with --data" "$PARRY" predict net.onnx some.npy --quiet

head -c 100 pics/adv-00003.png >cut.png
fails "a cut picture is named" 1 "cut.png" "$PARRY" attack net.onnx cut.png --quiet
cp pics/adv-00003.png hidden && cp cut.png classes/3/broken.png
fails "one in a folder too" 1 "broken.png" "$PARRY" evaluate net.onnx classes --quiet
rm classes/3/broken.png
fails "no such picture" 1 "nowhere.jpg" "$PARRY" attack net.onnx nowhere.jpg --quiet
mkdir empty
fails "an empty folder" 1 "empty" "$PARRY" attack net.onnx empty --quiet
mkdir -p strange/one strange/two && cp cut.png strange/one && cp cut.png strange/two
fails "folders of no class" 1 "the folder one stands for no class" "$PARRY" evaluate net.onnx strange --quiet
echo "file,label" >none.csv; echo "other.png,3" >>none.csv
fails "a table of other files" 1 "it says other.png, the first picture is adv-00000.png" "$PARRY" evaluate net.onnx pics --labels none.csv --quiet
echo "file,label" >bad.csv; echo "adv-00000.png,eleven" >>bad.csv
fails "a table with an unknown class" 1 "bad.csv: line 2" "$PARRY" evaluate net.onnx pics --labels bad.csv --quiet
fails "photographs and data" 2 "both --data" "$PARRY" attack net.onnx pics --data digits --quiet
fails "labels for a dataset" 2 "--labels" "$PARRY" attack net.onnx --data digits --labels table.csv --quiet
fails "accuracy without labels" 2 "label" "$PARRY" evaluate net.onnx pics --quiet

# Preprocessing: declared wrongly it is noticed, with what would do better; declared rightly it is stored and printed.
echo '{"clean_test_accuracy": {"mine": 0.995}}' >net.json
succeeds "a claim that is not kept" "$PARRY" evaluate net.onnx --data digits --first 200
holds "is noticed" grep -q "looks wrong" err
rm net.json
echo '{"preprocess": {"range": [0, 1], "resize": "squash"}, "clean_test_accuracy": {"x": 0.9}}' >net.json
succeeds "a JSON beside the model" "$PARRY" info net.onnx
prints "is shown" "--range 0,1 --resize squash (net.json)"
succeeds "a flag in the place of a part of it" "$PARRY" info net.onnx --std 0.5
holds "says what no longer holds" grep -qF "sets aside --range 0,1 (net.json)" err
succeeds "a preset in its place" "$PARRY" info net.onnx --preprocess unit
holds "says all there is to say" test ! -s err
succeeds "a model saved with it" "$PARRY" harden net.onnx --data digits --first 100 --method mixed --epochs 1 -o stored.onnx --quiet
succeeds "carries it" "$PARRY" info stored.onnx
prints "in its metadata" "--range 0,1 --resize squash (metadata)"
succeeds "eps in all units" "$PARRY" attack net.onnx --data digits --first 20 --eps 0.1 --range 0,255
prints "as the network sees it" "0.1 (25.5/255; 25.5 in the network's units)"
succeeds "eps in a table" "$PARRY" evaluate net.onnx --data digits --first 20 --attack fgsm --eps 0.1 --range 0,255
prints "as each network sees it" "0.1 (25.5/255; 25.5 in the network's units)"
fails "an unknown preset" 2 "did you mean imagenet?" "$PARRY" info net.onnx --preprocess imagnet
echo '{"preprocess": {"mena": 1}}' >net.json
fails "an unknown key" 1 "net.json: unknown key" "$PARRY" info net.onnx

# Training on class folders: the folders name the classes, and the file keeps their names and the resizing.
mkdir -p zoo/train/ant zoo/train/bee zoo/val/ant zoo/val/bee
for name in $(ls pics | head -n 12); do cp "pics/$name" zoo/train/ant/; cp "pics/$name" zoo/val/ant/; done
for name in $(ls pics | tail -n 12); do cp "pics/$name" zoo/train/bee/; done
cp "pics/$name" zoo/val/bee/
train="--epochs 2 --batch 8 --quiet"
succeeds "training on photographs" "$PARRY" train --data zoo --size 32 --resize-size 36 $train -o zoo.onnx --json zoo.json
between "trained on the train folder" "$(json_number zoo.json count)" 24 24
between "scored on the val folder" "$(sed 1,/tested_on/d zoo.json | sed -n 's/.*"count": *\([0-9]*\).*/\1/p' | head -n 1)" 13 13
succeeds "the file of photographs" "$PARRY" info zoo.onnx
prints "its classes" "2: ant; bee"
prints "its resizing" "--resize crop --resize-size 36 (metadata)"
succeeds "a prediction" "$PARRY" predict zoo.onnx "pics/$name"
holds "names the class" grep -q "ant" out
succeeds "hardening on photographs" "$PARRY" harden zoo.onnx --data zoo --method mixed --attack fgsm $train -o zoohard.onnx
succeeds "the hardened file" "$PARRY" info zoohard.onnx
prints "keeps the classes" "2: ant; bee"
prints "and the resizing" "--resize crop --resize-size 36 (metadata)"
succeeds "its weights on the same classes" "$PARRY" train --data zoo --size 32 --weights zoo.onnx $train -o again.onnx
succeeds "the file trained again" "$PARRY" info again.onnx
prints "has the classes still" "2: ant; bee"

rm net.json
# A file that leaves the size of its images open: declared once, by a flag or beside it, and kept in what is written.
cp "$PARRY_TEST_DATA/onnx/bad_open_image.onnx" open.onnx
fails "an open size" 1 "open.onnx: axis 2 of the input 'x' has no fixed size: declare it with --input-size 224" "$PARRY" info open.onnx
fails "no size" 2 "--input-size is '16by24'; expected pixels: 224, or height x width as 224x299" "$PARRY" info open.onnx --input-size 16by24
succeeds "a declared size" "$PARRY" info open.onnx --input-size 16x24
prints "is that of the input" "N x 3 x 16 x 24"
succeeds "photographs at that size" "$PARRY" attack open.onnx "pics/$name" --input-size 16x24 --attack fgsm --eps 0.1 -o open.png --quiet
holds "are written at that size" test "$(od -An -t u1 -j 16 -N 8 open.png | tr -s ' ')" = " 0 0 0 24 0 0 0 16"
echo '{"input_size": 16}' >open.json
succeeds "a size beside the file" "$PARRY" harden open.onnx --data zoo --method mixed --attack fgsm $train -o openhard.onnx
succeeds "what is written" "$PARRY" info openhard.onnx
prints "has the size" "N x 3 x 16 x 16"
prints "and says so" "--input-size 16x16 (metadata)"
fails "another size" 1 "openhard.onnx: preprocessing (metadata, flags): an input size of 32 x 32 is declared, but the network takes 16 x 16" \
    "$PARRY" info openhard.onnx --input-size 32
succeeds "beside a network that has its size" "$PARRY" evaluate open.onnx zoo.onnx --data zoo --input-size 16x24
holds "it is for the other" grep -q "open.onnx reads the photographs as 3 x 16 x 24" out
holds "which keeps its own" grep -q "zoo.onnx reads the photographs as 3 x 32 x 32" out
succeeds "on noise too" "$PARRY" noise zoo.onnx open.onnx --input-size 16x24 --mu 100 --sigma 10 --quiet

# A PNG at the network's size is a photograph like any other, unless it is said to be none.
succeeds "an adversary as a PNG" "$PARRY" attack zoo.onnx "pics/$name" --attack fgsm --eps 0.1 -o adv.png --quiet
succeeds "is resized" "$PARRY" predict zoo.onnx adv.png
holds "with a warning" grep -q "adv.png: it has the network's size already" err
succeeds "is taken as it is" "$PARRY" predict zoo.onnx adv.png --resize none
holds "without one" sh -c '! grep -q "size already" err'

# NumPy arrays among the words.
succeeds "an adversary as an array" "$PARRY" attack zoo.onnx "pics/$name" --attack fgsm --eps 0.1 -o adv.npy --quiet
succeeds "is predicted" "$PARRY" predict zoo.onnx adv.npy --json array.json --quiet
between "as one image" "$(json_number array.json count)" 1 1
succeeds "and attacked" "$PARRY" attack zoo.onnx adv.npy --attack fgsm --eps 0.1 --quiet
succeeds "arrays with labels" "$PARRY" attack net.onnx saved/images.npy --eps 0 --range 0,1 --json labelled.json --quiet
between "their accuracy" "$(json_number labelled.json clean_acc)" "$clean" "$clean"

# Arrays do not say how many classes there are: of the first four digits the largest is 7.
succeeds "a few of ten classes" "$PARRY" attack net.onnx --data digits --first 4 --eps 0 --save few --json few.json --quiet
few=$(json_number few.json clean_acc)
succeeds "are scored" "$PARRY" evaluate net.onnx --data few/images.npy --attack fgsm --eps 0.1 --report few.html --json few.json --quiet
between "alike" "$(json_number few.json clean_acc)" "$few" "$few"
succeeds "are saved again" "$PARRY" attack net.onnx --data few/images.npy --eps 0 --save again --quiet
succeeds "and read" "$PARRY" attack net.onnx --data again --eps 0 --json again.json --quiet
between "alike once more" "$(json_number again.json clean_acc)" "$few" "$few"
succeeds "are tuned on" "$PARRY" harden net.onnx --data few/images.npy --method finetune --epochs 1 -o fewer.onnx --quiet
fails "labels that the network does not know" 1 "zoo.onnx" "$PARRY" predict zoo.onnx few/images.npy

# Each network reads photographs in its own way, and says so where they differ; stale adversaries need one way.
succeeds "a network with another resizing" "$PARRY" harden zoo.onnx --data zoo --method mixed --attack fgsm $train --resize squash -o squash.onnx
succeeds "is evaluated beside the first" "$PARRY" evaluate zoo.onnx squash.onnx --data zoo
holds "its rule" grep -q "squash.onnx reads the photographs as 3 x 32 x 32 (--resize squash)" out
succeeds "one rule for both" "$PARRY" evaluate zoo.onnx squash.onnx --data zoo --resize squash
holds "is not worth a note" sh -c '! grep -q "reads the photographs" out'
fails "a source that reads otherwise" 1 "3 x 32 x 32 (--resize squash); zoo.onnx reads them otherwise" "$PARRY" evaluate zoo.onnx --source squash.onnx --attack fgsm --data zoo --quiet
fails "other classes" 1 "net.onnx tells 10 classes apart, but zoo has 2" "$PARRY" evaluate zoo.onnx net.onnx --data zoo --quiet
succeeds "folders without splits" "$PARRY" train --data zoo/train --size 32 --epochs 1 --batch 8 -o flat.onnx
holds "are not scored on themselves" grep -q "no test accuracy is measured" err
fails "photographs without labels" 2 "has no label" "$PARRY" harden zoo.onnx --data pics -o no.onnx --quiet
fails "one class" 1 "expected two or more" "$PARRY" train --data zoo/val/ant -o no.onnx --quiet
fails "a size for a dataset" 2 "--size is for photographs" "$PARRY" train --data digits --size 32 -o no.onnx --quiet
finish
