#!/usr/bin/env bash
# What capturing costs llama.cpp: the time of a prefill of 128 tokens and of
# decoding one token with capture over the time without, in one process, on a
# random model of 0.2 G parameters. Goals: 1.05 for the prefill, 1.2 for a token.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash testdata/engines/install.sh
go test ./gate/engine -run '^$' -bench '^BenchmarkLlamaCapture$' -benchtime 1x | awk '
	/^BenchmarkLlamaCapture/ { for (i = 3; i < NF; i += 2) m[$(i + 1)] = $i; n++ }
	/^(---|FAIL|panic)/ { print; bad = 1 }
	END {
		if (!n || bad) exit 1
		printf "prefill  %9.2f ms  captured %9.2f ms  ratio %.3f  goal 1.05\n", m["prefill-plain-ms"], m["prefill-captured-ms"], m["prefill-ratio"]
		printf "decode   %9.2f ms  captured %9.2f ms  ratio %.3f  goal 1.20\n", m["decode-plain-ms"], m["decode-captured-ms"], m["decode-ratio"]
	}'
