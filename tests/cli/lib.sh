# What the command-line tests share. A test sources this, calls the functions below and ends with `finish`.
# $PARRY is the command under test, $PARRY_TEST_DATA has the golden files; each test works in a folder of its own, removed at the end.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0
failed=0

pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "FAILED: $1"
    [ ! -s out ] || sed 's/^/  out: /' out | head -n 20
    [ ! -s err ] || sed 's/^/  err: /' err | head -n 20
}

# succeeds "what" command...: exit status 0.
succeeds() {
    what=$1; shift
    if "$@" >out 2>err; then pass; else fail "$what: exit status $?"; fi
}

# fails "what" STATUS "part of the sentence" command...: exits with STATUS, one line on standard error that contains the part.
fails() {
    what=$1 status=$2 part=$3; shift 3
    "$@" >out 2>err
    code=$?
    if [ "$code" -ne "$status" ]; then fail "$what: exit status $code, expected $status"; return; fi
    if [ "$(grep -c . err)" -ne 1 ]; then fail "$what: expected one sentence"; return; fi
    if ! grep -qF -- "$part" err; then fail "$what: expected '$part'"; return; fi
    pass
}

# holds "what" command...: like succeeds, but leaves out and err of the command before it alone.
holds() {
    what=$1; shift
    if "$@" >/dev/null 2>&1; then pass; else fail "$what"; fi
}

# prints "what" "text": the last command's standard output contains the text.
prints() { if grep -qF -- "$2" out; then pass; else fail "$1: expected '$2'"; fi; }

# json_number FILE KEY: the first number under the key.
json_number() { sed -n "s/.*\"$2\": *\\([-0-9.eE+]*\\).*/\\1/p" "$1" | head -n 1; }

# between "what" VALUE LO HI
between() {
    if awk -v x="$2" -v lo="$3" -v hi="$4" 'BEGIN { exit !(x != "" && x + 0 >= lo && x + 0 <= hi) }'; then pass
    else fail "$1: '$2' is not between $3 and $4"; fi
}

finish() {
    echo "$passed checks passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}
