#!/usr/bin/env bash
# Draws the README's pictures of the comment: render.sh [FOLDER]. The runs are
# real ones of the built-in demonstration; the style sheet is GitHub's own, from
# npm. Needs Go, npm and Chromium; colour emoji come from fonts-noto-color-emoji.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
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
run pass 0 demo
run fail 1 demo --bug rope

mkdir -p "$out"
go run ./testdata/pictures -browser "$browser" -css "$cache/github-markdown-light.css" -out "$out" \
	pass="$work/pass/results.json" fail="$work/fail/results.json"
