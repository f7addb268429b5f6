#!/usr/bin/env bash
# Draws the README's pictures of the comment: render.sh [FOLDER]. The runs are
# real ones of the built-in demonstration, in a repository of their own; the style
# sheet is GitHub's, from npm. Needs Go, git, npm and Chromium; colour emoji come
# from fonts-noto-color-emoji.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
out=${1:-docs/images}
css_version=5.9.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/paritygate/github-markdown-css-$css_version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

browser=
for b in chromium chromium-browser google-chrome; do
	if command -v "$b" >/dev/null; then browser=$b && break; fi
done
[ -n "$browser" ] || { echo "pictures: no Chromium found: install chromium" >&2; exit 1; }

if [ ! -f "$cache/github-markdown-light.css" ]; then
	(cd "$work" && npm pack --silent "github-markdown-css@$css_version" >/dev/null 2>&1)
	tar -xzf "$work/github-markdown-css-$css_version.tgz" -C "$work"
	mkdir -p "$cache"
	cp "$work/package/github-markdown-light.css" "$cache/.new"
	mv "$cache/.new" "$cache/github-markdown-light.css"
fi

go build -o "$work/paritygate" .
run() { # run NAME EXIT ARGS...: the results of a run that must exit so
	local name=$1 want=$2 code=0
	shift 2
	"$work/paritygate" "$@" --out "$work/$name" >/dev/null 2>&1 || code=$?
	[ "$code" = "$want" ] || { echo "pictures: paritygate $*: exit code $code, want $want" >&2; exit 1; }
}
demo() { # demo BRANCH [BUG]: a commit with the trace of a candidate
	git -C "$work/engine" checkout -q -b "$1"
	"$work/paritygate" demo --out "$work/demo" ${2:+--bug "$2"} >/dev/null 2>&1 || [ -n "${2:-}" ]
	cp "$work/demo/"{candidate.safetensors,llama-f16.gguf} "$work/engine"
	{ cat "$work/demo/demo.yaml" && echo 'baseline: {store: "branch:parity-baselines", required: true}'; } >"$work/engine/parity.yaml"
	git -C "$work/engine" add .
	git -C "$work/engine" commit -q --allow-empty -m "$1"
}

# A repository with a sound engine and two changes of it, one with a bug. A run
# before there is a baseline, then the baseline, then what stands on it.
git init -q -b start "$work/engine"
git -C "$work/engine" config user.name demo
git -C "$work/engine" config user.email demo@example.com
git -C "$work/engine" config commit.gpgsign false
# The commits are the same each time.
export GIT_AUTHOR_DATE=2026-11-20T12:00:00Z GIT_COMMITTER_DATE=2026-11-20T12:00:00Z
cd "$work/engine"
demo main
run no-baseline 3 run
run update 0 baseline update
demo faster-sampler
run pass 0 run --base main
git checkout -q main
demo longer-context rope
run fail 1 run --base main
heads=(no-baseline="$(git rev-parse main)" pass="$(git rev-parse faster-sampler)" fail="$(git rev-parse longer-context)")
cd "$root"

mkdir -p "$out"
for head in "${heads[@]}"; do
	go run ./testdata/pictures -browser "$browser" -css "$cache/github-markdown-light.css" -out "$out" \
		-repository acme/engine -head "${head#*=}" "${head%%=*}=$work/${head%%=*}/results.json"
done
