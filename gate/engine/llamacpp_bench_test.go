package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/spec"
)

// BenchmarkLlamaCapture prints how much longer llama.cpp takes with capture
// than without, for a prefill of 128 tokens and for decoding one at a time, on
// a random model of 0.2 G parameters; the goals are 1.05 and 1.2.
func BenchmarkLlamaCapture(b *testing.B) {
	install := enginetest.LlamaCpp(b)
	o := Options{Role: Reference, Getenv: os.Getenv}
	cfg := spec.Engine{Adapter: "llamacpp", Library: install.Library, Headers: install.Headers, MaxTrace: spec.DefaultMaxTrace}
	p := &llamaProbe{cfg: cfg, o: o}
	in := Input{Name: "bench", Dir: b.TempDir(), Model: filepath.Join(b.TempDir(), "random.gguf")}
	for i := range int32(128) {
		in.Tokens = append(in.Tokens, i*61%8192)
	}
	if err := enginetest.Random(1024, 16).Write(in.Model); err != nil {
		b.Fatal(err)
	}
	program, err := p.build(context.Background(), in)
	if err != nil {
		b.Fatal(err)
	}
	args, err := p.args(in, "", filepath.Join(in.Dir, "trace"), filepath.Join(in.Dir, "result"))
	if err != nil {
		b.Fatal(err)
	}
	env, err := Environment(os.Environ(), spec.Engine{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := Process{Args: append([]string{program, "--bench", "5"}, args...), Env: env}.Run(context.Background())
		if err != nil || !r.OK() {
			b.Fatal(err, r.Stderr.Last(outputLines))
		}
		for _, line := range strings.Split(strings.TrimSpace(r.Stdout.String()), "\n") {
			var m struct {
				Run        string
				Ratio      float64
				PlainMS    float64 `json:"plain_ms"`
				CapturedMS float64 `json:"captured_ms"`
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				b.Fatal(err, line)
			}
			b.ReportMetric(m.Ratio, m.Run+"-ratio")
			b.ReportMetric(m.PlainMS, m.Run+"-plain-ms")
			b.ReportMetric(m.CapturedMS, m.Run+"-captured-ms")
		}
	}
}
