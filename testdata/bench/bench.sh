#!/usr/bin/env bash
# Measures how fast paritygate compares, and prints each figure beside its goal.
#
#	bench.sh [quick]
#
# needs Go, Python 3 with venv, cat, and 6 GB in ${TMPDIR:-/tmp} (quick: 200 MB),
# all of which it removes. quick takes seconds and shows that everything works.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mode=${1:-full}
case $mode in
full) flags=() ;;
quick) flags=(-quick) ;;
*)
	echo "bench.sh: $mode is no mode: want full or quick" >&2
	exit 2
	;;
esac

dir=$(mktemp -d "${TMPDIR:-/tmp}/paritygate-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
python=$(testdata/zoo/setup.sh)
go build -trimpath -o "$dir/paritygate" .
go build -o "$dir/bench" ./testdata/bench
"$dir/bench" -dir "$dir" -program "$dir/paritygate" -python "$python" "${flags[@]}"
