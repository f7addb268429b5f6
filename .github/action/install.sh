#!/usr/bin/env bash
# Puts the program into a private folder of the runner's temporary one: the file
# that the input binary names; else built by the runner's Go; else built by the
# runner's Docker. Outputs: bin, its path, and sha256, by which the steps after
# the engines know that it is still the same file.
#
# No secret is in its environment, and nothing of the workspace is run but what
# the input binary names.
set -euo pipefail

fail() { # fail WHY: an annotation is one line
	local why=${1//%/%25}
	why=${why//$'\r'/}
	echo "::error title=paritygate::${why//$'\n'/%0A}"
	exit 3
}

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${RUNNER_TEMP:?is not set: this script is a step of action.yml}"
dir=$(mktemp -d "$RUNNER_TEMP/paritygate-bin-XXXXXX")
bin=$dir/paritygate
log=$dir/log
tried=()

# The version that a report shows is what the workflow pinned the Action to.
version=${ACTION_REF:-}
[[ $version =~ ^[A-Za-z0-9._/-]{1,100}$ ]] || version=

given() {
	local from=$INPUT_BINARY
	[[ $from = /* ]] || from=${GITHUB_WORKSPACE:-.}/$from
	[ -f "$from" ] || fail "input binary: $INPUT_BINARY is no file; want the path of a paritygate program, absolute or in the workspace"
	cp -- "$from" "$bin"
}

with_go() {
	command -v go >/dev/null || { tried+=("Go is not installed"); return 1; }
	echo "building with $(go version)"
	# A workspace's go.work or flags are none of the Action's.
	(cd "$source" && CGO_ENABLED=0 GOFLAGS='' GOWORK=off go build -trimpath -buildvcs=false \
		-ldflags "-s -w -X github.com/paritygate/paritygate/gate/cli.version=$version" -o "$bin" .) >"$log" 2>&1 && return
	cat "$log"
	tried+=("go build failed: $(tail -n 3 "$log")")
	return 1
}

with_docker() {
	command -v docker >/dev/null || { tried+=("Docker is not installed"); return 1; }
	echo "building with Docker"
	local image id
	if image=$(docker build --quiet --build-arg "VERSION=$version" "$source" 2>"$log") && id=$(docker create "$image" 2>>"$log"); then
		docker cp "$id:/usr/local/bin/paritygate" "$bin" >>"$log" 2>&1 || true
		docker rm "$id" >/dev/null 2>&1 || true
		[ -f "$bin" ] && return
	fi
	cat "$log"
	tried+=("docker build failed: $(tail -n 3 "$log")")
	return 1
}

if [ -n "${INPUT_BINARY:-}" ]; then
	given
elif ! with_go && ! with_docker; then
	printf -v why '%s; ' "${tried[@]}"
	fail "there is no paritygate program on this runner and none can be built: ${why%; }. \
Install Go (actions/setup-go) or Docker, or give the input binary the path of a released program."
fi

chmod 0555 "$bin"
"$bin" version || fail "the program does not run on this machine: $(uname -sm)"
if command -v sha256sum >/dev/null; then
	sum=$(sha256sum "$bin")
else
	sum=$(shasum -a 256 "$bin")
fi
{
	echo "bin=$bin"
	echo "sha256=${sum%% *}"
} >>"$GITHUB_OUTPUT"
