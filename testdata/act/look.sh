#!/usr/bin/env bash
# The last step of the workflows that tests run: tells the test, in the folder
# $E2E_OUT, what the Action left behind.
set -euo pipefail
printf '%s' "$OUTPUTS" >"$E2E_OUT/outputs.json"
printf '%s' "$OUTCOME" >"$E2E_OUT/outcome"
env >"$E2E_OUT/environment"
find "$GITHUB_WORKSPACE" "$RUNNER_TEMP" ! -uid "$(id -u)" >"$E2E_OUT/foreign"
find "$GITHUB_WORKSPACE" "$RUNNER_TEMP" | wc -l >"$E2E_OUT/count"
for f in "$GITHUB_WORKSPACE"/loot*; do
	[ ! -f "$f" ] || cp "$f" "$E2E_OUT/"
done
report=$(node -p 'JSON.parse(process.env.OUTPUTS).report || ""')
[ -z "$report" ] || cp -r "$report" "$E2E_OUT/reports"
results=$(node -p 'JSON.parse(process.env.OUTPUTS).results || ""')
[ -z "$results" ] || cp "$results" "$E2E_OUT/results.json"
