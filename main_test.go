package main

import (
	"cmp"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/paritygate/paritygate/baseline/golden/registrytest"
	"github.com/paritygate/paritygate/gate/trace"
)

var update = flag.Bool("update", false, "write the expected output of scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"paritygate": main})
}

// TestScripts runs the command line from end to end. Besides testscript's own
// commands, scripts have:
//
//	exits CODE PROGRAM [ARG…]
//		runs a program that must exit with that very code
//	mktrace FILE [KEY=VALUE…]
//		writes a small trace; see makeTrace for the keys
//	gitserver FOLDER
//		serves the bare repositories of a folder over HTTP, as $GITSERVER says
//	steady FILE [REPOSITORY…]
//		replaces what differs from run to run: tagged commits of the repositories
//		by their tags, other hashes by HASH, dates by DATE, $WORK by WORK
//	untimed FILE
//		replaces the seconds that a text report took by TIME
//	waitfor FILE
//		waits until a program in the background has written the file
//	registry
//		starts an OCI registry, whose address is $REGISTRY
//
// $REPO is the repository.
func TestScripts(t *testing.T) {
	repo, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("REPO", repo)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"gitserver": gitserver,
			"mktrace":   mktrace,
			"steady":    steady,
			"untimed":   untimed,
			"waitfor":   waitfor,
			"registry":  startRegistry,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCode(ts, args[1:]); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// exitCode runs a program and keeps its output for cmp, stdout and stderr.
func exitCode(ts *testscript.TestScript, command []string) int {
	err := ts.Exec(command[0], command[1:]...)
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		ts.Fatalf("%v", err)
	}
	if e != nil {
		return e.ExitCode()
	}
	return 0
}

func mktrace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: mktrace FILE [KEY=VALUE…]")
	}
	ts.Check(makeTrace(ts.MkAbs(args[0]), args[1:]))
}

// took matches how long a text report says that something took.
var took = regexp.MustCompile(`(reference|candidate|comparison) [0-9.]+ (ms|s|µs|min)\b`)

func untimed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: untimed FILE")
	}
	text := took.ReplaceAllString(ts.ReadFile(args[0]), "$1 TIME")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// gitserver is git's own HTTP backend.
func gitserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gitserver FOLDER")
	}
	core, err := exec.Command("git", "--exec-path").Output()
	ts.Check(err)
	s := httptest.NewServer(&cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(core)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + ts.MkAbs(args[0]), "GIT_HTTP_EXPORT_ALL=1"}})
	ts.Defer(s.Close)
	ts.Setenv("GITSERVER", s.URL)
}

var (
	anyHash = regexp.MustCompile(`\b[0-9a-f]{12,64}\b`)
	anyDate = regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(Z|[+-]\d\d:\d\d))?`)
)

func steady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: steady FILE [REPOSITORY…]")
	}
	tags := map[string]string{}
	for _, repo := range args[1:] {
		cmd := exec.Command("git", "for-each-ref", "--format=%(objectname) %(refname:short)", "refs/tags")
		cmd.Dir = ts.MkAbs(repo)
		out, err := cmd.Output()
		ts.Check(err)
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			sha, tag, _ := strings.Cut(line, " ")
			tags[sha], tags[sha[:12]] = tag, tag
		}
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), ts.Getenv("WORK"), "WORK")
	text = anyHash.ReplaceAllStringFunc(text, func(sha string) string { return cmp.Or(tags[sha], "HASH") })
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(anyDate.ReplaceAllString(text, "DATE")), 0o644))
}

func waitfor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor FILE")
	}
	for range 3000 {
		if st, err := os.Stat(ts.MkAbs(args[0])); err == nil && st.Size() > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s did not come within 30 s", args[0])
}

func startRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: registry")
	}
	host, stop, err := registrytest.Start(ts.MkAbs("."))
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv("REGISTRY", host)
}

// fakeModel is a toy of a forward pass, the same for the same keys.
type fakeModel struct {
	layers, positions, width, vocab int
	dtype                           trace.DType
	noise                           float64            // relative, different in every noisy trace
	scale                           map[string]float64 // what a checkpoint adds is multiplied by this
	set                             map[string]float64 // "CHECKPOINT/POSITION/ELEMENT" to value
	drop                            map[string]bool
	meta                            trace.Meta
}

// makeTrace writes the trace of a toy model: an embedding, layers that each add
// to the residual, the final norm and logits. Keys, all optional:
//
//	layers=3 positions=4 width=16 vocab=32 dtype=F32
//	noise=1e-7                           relative noise on every value
//	scale=layer_1_output:1.1             multiply what a checkpoint adds: all later ones follow
//	set=layer_0_output/2/5:NaN           one value of what is written
//	drop=logits                          leave a checkpoint out
//	tokens=1,2,3,4 engine=E engine_version=V model=M compute_dtype=D device=D prompt=P
//	from=N                               the position of the first row
func makeTrace(path string, keys []string) error {
	m := fakeModel{layers: 3, positions: 4, width: 16, vocab: 32, dtype: trace.F32,
		scale: map[string]float64{}, set: map[string]float64{}, drop: map[string]bool{}}
	m.meta = trace.Meta{Engine: "toy", ComputeDType: "f32", Tokens: []int32{1, 2, 3, 4}}
	for _, kv := range keys {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return fmt.Errorf("mktrace: %q: want KEY=VALUE", kv)
		}
		if err := m.key(k, v); err != nil {
			return fmt.Errorf("mktrace: %s: %w", kv, err)
		}
	}
	return m.write(path)
}

func (m *fakeModel) key(k, v string) (err error) {
	switch k {
	case "layers":
		m.layers, err = strconv.Atoi(v)
	case "positions":
		m.positions, err = strconv.Atoi(v)
	case "width":
		m.width, err = strconv.Atoi(v)
	case "vocab":
		m.vocab, err = strconv.Atoi(v)
	case "noise":
		m.noise, err = strconv.ParseFloat(v, 64)
	case "dtype":
		m.dtype = map[string]trace.DType{"F32": trace.F32, "F64": trace.F64}[v]
		if m.dtype == 0 {
			err = errors.New("want F32 or F64")
		}
	case "scale", "set":
		name, number, _ := strings.Cut(v, ":")
		var f float64
		f, err = strconv.ParseFloat(number, 64)
		map[string]map[string]float64{"scale": m.scale, "set": m.set}[k][name] = f
	case "drop":
		m.drop[v] = true
	case "from":
		var from int
		from, err = strconv.Atoi(v)
		for i := range m.positions {
			m.meta.Positions = append(m.meta.Positions, from+i)
		}
	case "tokens":
		m.meta.Tokens = nil
		for _, s := range strings.Split(v, ",") {
			id, e := strconv.ParseInt(s, 10, 32)
			err = errors.Join(err, e)
			m.meta.Tokens = append(m.meta.Tokens, int32(id))
		}
	default:
		text := map[string]*string{"engine": &m.meta.Engine, "engine_version": &m.meta.EngineVersion, "model": &m.meta.Model,
			"compute_dtype": &m.meta.ComputeDType, "device": &m.meta.Device, "prompt": &m.meta.Prompt}[k]
		if text == nil {
			return errors.New("unknown key")
		}
		*text = v
	}
	return err
}

// forward computes every checkpoint, in order.
func (m *fakeModel) forward() (names []string, rows map[string][][]float64) {
	rows = map[string][][]float64{}
	add := func(name string, row func(p int) []float64) {
		names = append(names, name)
		scale, ok := m.scale[name]
		if !ok {
			scale = 1
		}
		for p := range m.positions {
			r := row(p)
			for i := range r {
				r[i] *= scale
			}
			rows[name] = append(rows[name], r)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	fresh := func(n int) []float64 {
		r := make([]float64, n)
		for i := range r {
			r[i] = random.NormFloat64()
		}
		return r
	}
	add("embedding", func(int) []float64 { return fresh(m.width) })
	before := "embedding"
	for l := range m.layers {
		name := fmt.Sprintf("layer_%d_output", l)
		add(name, func(int) []float64 { return fresh(m.width) })
		for p, r := range rows[name] {
			for i := range r {
				r[i] += rows[before][p][i]
			}
		}
		before = name
	}
	add("final_norm", func(p int) []float64 {
		sum, r := 0.0, append([]float64(nil), rows[before][p]...)
		for _, v := range r {
			sum += v * v
		}
		for i := range r {
			r[i] /= math.Sqrt(sum / float64(m.width))
		}
		return r
	})
	weights := make([][]float64, m.vocab)
	for v := range weights {
		weights[v] = fresh(m.width)
	}
	add("logits", func(p int) []float64 {
		r := make([]float64, m.vocab)
		for v, w := range weights {
			for i := range w {
				r[v] += w[i] * rows["final_norm"][p][i]
			}
		}
		return r
	})
	return names, rows
}

func (m *fakeModel) write(path string) error {
	names, rows := m.forward()
	noise := rand.New(rand.NewPCG(3, math.Float64bits(m.noise)))
	var specs []trace.TensorSpec
	for _, name := range names {
		if !m.drop[name] {
			specs = append(specs, trace.TensorSpec{Name: name, DType: m.dtype, Rows: m.positions, Width: len(rows[name][0])})
		}
	}
	w, err := trace.Create(path, m.meta, specs)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, s := range specs {
		for p, row := range rows[s.Name] {
			var b []byte
			for i, v := range row {
				v *= 1 + m.noise*noise.NormFloat64()
				if set, ok := m.set[fmt.Sprintf("%s/%d/%d", s.Name, p, i)]; ok {
					v = set
				}
				if m.dtype == trace.F64 {
					b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
				} else {
					b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
				}
			}
			if err := w.Append(s.Name, b); err != nil {
				return err
			}
		}
	}
	return w.Close()
}
