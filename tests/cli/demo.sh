# The demo from start to end, quick, on built-in digits, in a folder with a space in its name; and where nothing can be downloaded.
. "$(dirname "$0")/lib.sh"

# No network to try: a proxy that refuses.
unset PARRY_DATA
export XDG_CACHE_HOME="$work/cache" http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9
succeeds "the demo" "$PARRY" demo --quick -o "de mo" --json result.json --quiet
holds "the first line says what the images are" sh -c 'head -n 1 out | grep -q "BUILT-IN DIGITS"'
holds "commands are shown as a shell takes them" grep -qF -- "-o 'de mo/cnn.onnx'" out
for model in cnn tutorial finetuned mixed pgd; do
    holds "$model is written" test -s "de mo/$model.onnx"
done
holds "the report is whole" grep -q "</html>" "de mo/report.html"
if grep -Eq "(src|href)=\"?https?:" "de mo/report.html"; then fail "the report loads from elsewhere"; else pass; fi
between "the network learns" "$(json_number result.json clean_acc)" 0.8 1
if ls -a "de mo" | grep -q tmp; then fail "no temporary files remain"; else pass; fi

fails "a folder that cannot be made" 1 "de mo/report.html" "$PARRY" demo --quick -o "de mo/report.html/x"

"$PARRY" demo --quick --data digits -o late >out 2>err &
pid=$!
sleep 1
kill -INT $pid
wait $pid
if [ $? -eq 130 ]; then pass; else fail "an interrupt stops the demo"; fi
holds "no report of half a story" test ! -e late/report.html
finish
