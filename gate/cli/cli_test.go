package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate"
)

// fake is a process without an operating system around it.
type fake struct {
	stdout, stderr bytes.Buffer
	env            map[string]string
	terminal       bool // both outputs are one, 100 columns wide
}

func (f *fake) process() Process {
	return Process{
		Stdin: strings.NewReader(""), Stdout: &f.stdout, Stderr: &f.stderr,
		Getenv:   func(k string) string { return f.env[k] },
		Terminal: func(io.Writer) (int, bool) { return 100, f.terminal },
	}
}

func TestExitCodeOfTheCommandLine(t *testing.T) {
	tests := []struct {
		args   string
		code   int
		stderr string // must hold
	}{
		{"version", 0, ""},
		{"--version", 0, ""},
		{"--help", 0, ""},
		{"help compare", 0, ""},
		{"", 2, "no command given"},
		{"comprae a b", 2, "did you mean compare?"},
		{"frobnicate", 2, "the commands are"},
		{"help frobnicate", 2, "no help for"},
		{"compare a", 2, "missing argument: want REFERENCE and CANDIDATE"},
		{"compare a b c", 2, `unexpected argument "c"`},
		{"compare a b --format xml", 2, "want text, json, markdown or junit"},
		{"compare a b --jobs 0", 2, "from 1 to 4096"},
		{"compare a b --skip-position -1", 2, "whole numbers from 0 on"},
		{"compare a b --skip-position 5-4", 2, "whole numbers from 0 on"},
		{"compare a b --skip-element 0-99999999", 2, "more than"},
		{"compare a b --preset f8", 2, "want f32, f16"},
		{"compare a b --color blue", 2, "want auto, always or never"},
		{"compare no-such-file b", 2, "reference: "},
		{"check no-such-file", 2, "no-such-file"},
		{"judge x.json", 2, "missing --spec"},
		{"report no-such-file", 2, "no-such-file"},
		{"schema comment", 2, `no schema "comment"`},
		{"capture", 2, "missing --out"},
		{"capture -o t", 2, "missing --adapter"},
		{"capture -o t --adapter llamacpp", 2, "missing --tokens or --prompt"},
		{"capture -o t --adapter llamacpp --tokens 1 --prompt x", 2, "exclude each other"},
		{"capture -o t --adapter llamacpp --tokens 1,b", 2, "want token ids"},
		{"capture -o t --adapter llamacpp --tokens 1 --generate -1", 2, "want 0 or more"},
		{"capture -o t --adapter exec --tokens 1 --threads 2 -- x", 2, "--threads belongs to llamacpp"},
		{"capture -o t --adapter llamacpp --tokens 1 -- x", 2, "a command belongs to exec"},
		{"capture -o t --adapter exec --tokens 1 --env novalue -- x", 2, "want NAME=VALUE"},
		{"capture -o t --adapter exec --tokens 1 x", 2, "stands behind --"},
		{"capture -o t --spec s.yaml", 2, "missing --engine"},
		{"capture -o t --spec s.yaml --engine candidate --tokens 1", 2, "--tokens and --spec exclude"},
		{"capture -o t --engine candidate", 2, "--engine needs --spec"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var f fake
			code := Main(context.Background(), strings.Fields(tt.args), f.process())
			if code != tt.code || !strings.Contains(f.stderr.String(), tt.stderr) {
				t.Errorf("exit %d, stderr %q; want %d and %q in it", code, &f.stderr, tt.code, tt.stderr)
			}
			if (code == 0) == (f.stdout.Len() == 0) {
				t.Errorf("exit %d with %d bytes on stdout", code, f.stdout.Len())
			}
		})
	}
}

func TestInterruptedIsIncomplete(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("terminated signal received"))
	a := &app{Process: (&fake{}).process()}
	var f fake
	a.Process = f.process()
	if code := a.fail(ctx, a.root(), context.Cause(ctx)); code != 3 {
		t.Errorf("exit %d, want 3", code)
	}
	if got := f.stderr.String(); got != "paritygate: interrupted; nothing was judged\n" {
		t.Errorf("stderr %q", got)
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestUnwritableReportNeverPasses(t *testing.T) {
	for outcome, want := range map[gate.Outcome]int{gate.Pass: 3, gate.Fail: 1, gate.Incomplete: 3} {
		t.Run(outcome.String(), func(t *testing.T) {
			var f fake
			p := f.process()
			p.Stdout = full{}
			a := &app{Process: p, color: choice{value: "auto"}}
			r := &gate.Result{Version: 1, Outcome: outcome, ExitCode: outcome.ExitCode()}
			err := a.emit(r, &output{format: choice{value: "json"}})
			if code := a.fail(context.Background(), a.root(), err); code != want {
				t.Errorf("exit %d, want %d", code, want)
			}
			if got := f.stderr.String(); !strings.Contains(got, "no space left") || !strings.Contains(got, "outcome "+outcome.String()) {
				t.Errorf("stderr %q", got)
			}
		})
	}
}

// buggy is a writer that panics.
type buggy struct{}

func (buggy) Write([]byte) (int, error) { panic("a bug") }

func TestPanicIsIncomplete(t *testing.T) {
	var f fake
	p := f.process()
	p.Stdout = buggy{}
	if code := Main(context.Background(), []string{"version"}, p); code != 3 {
		t.Errorf("exit %d, want 3: %s", code, &f.stderr)
	}
	if !strings.Contains(f.stderr.String(), "internal error: a bug") {
		t.Errorf("stderr %q", &f.stderr)
	}
}

func TestColor(t *testing.T) {
	tests := []struct {
		flag     string
		terminal bool
		env      map[string]string
		want     bool
	}{
		{"auto", true, nil, true},
		{"auto", false, nil, false},
		{"auto", true, map[string]string{"NO_COLOR": "1"}, false},
		{"auto", true, map[string]string{"NO_COLOR": ""}, true},
		{"auto", true, map[string]string{"TERM": "dumb"}, false},
		{"always", false, map[string]string{"NO_COLOR": "1"}, true},
		{"never", true, nil, false},
	}
	for _, tt := range tests {
		f := fake{terminal: tt.terminal, env: tt.env}
		a := &app{Process: f.process(), color: choice{value: tt.flag}}
		if got := a.colored(); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestProgressMode(t *testing.T) {
	tests := []struct {
		terminal bool
		env      map[string]string
		bar      bool
	}{
		{true, nil, true},
		{false, nil, false},
		{true, map[string]string{"CI": "true"}, false},
		{true, map[string]string{"TERM": "dumb"}, false},
	}
	for _, tt := range tests {
		f := fake{terminal: tt.terminal, env: tt.env}
		a := &app{Process: f.process()}
		if got := a.newProgress().bar; got != tt.bar {
			t.Errorf("%+v: bar %v", tt, got)
		}
	}
}

// clock drives a progress by hand, a tick every 100 ms.
type clock struct {
	p   *progress
	now time.Time
	out bytes.Buffer
}

func newClock(bar bool) *clock {
	c := &clock{now: time.Unix(0, 0)}
	c.p = &progress{w: &c.out, bar: bar, width: 60, now: func() time.Time { return c.now }}
	return c
}

func (c *clock) run(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(100 * time.Millisecond)
		c.p.tick()
	}
}

func TestProgressIsQuietUnderTwoSeconds(t *testing.T) {
	for _, bar := range []bool{true, false} {
		c := newClock(bar)
		for range 5 {
			c.p.Step("step")
			c.p.Bytes(1, 2)
			c.run(1900 * time.Millisecond)
			c.p.Step("")
		}
		c.p.end()
		if c.out.Len() > 0 {
			t.Errorf("bar %v: %q", bar, &c.out)
		}
	}
}

func TestProgressLines(t *testing.T) {
	c := newClock(false)
	c.p.Step("reference: haiku")
	c.run(13 * time.Second)
	c.p.Step("comparing")
	c.p.Bytes(250e6, 1e9)
	c.run(3 * time.Second)
	c.p.end()
	want := "paritygate: reference: haiku, 2s\n" +
		"paritygate: reference: haiku, 12s\n" +
		"paritygate: comparing: 25 % of 1.0 GB, 2s\n"
	if got := c.out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestProgressGoesBackToTheOuterStep(t *testing.T) {
	c := newClock(false)
	c.p.Step("running the reference")
	c.p.Step("compiling the probe")
	c.run(2500 * time.Millisecond)
	c.p.Step("")
	c.run(2500 * time.Millisecond)
	want := "paritygate: compiling the probe, 2s\nparitygate: running the reference, 2s\n"
	if got := c.out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestProgressBar(t *testing.T) {
	c := newClock(true)
	c.p.Step("comparing")
	c.p.Bytes(500e6, 1e9)
	c.run(2100 * time.Millisecond)
	want := "\r\x1b[K[=============              ] comparing: 50 % of 1.0 GB, 2s"
	if got := c.out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.p.end()
	if got := c.out.String(); got != want+"\r\x1b[K" {
		t.Errorf("the bar was not cleared: %q", got)
	}
}

func TestProgressBarFitsTheLine(t *testing.T) {
	c := newClock(true)
	c.p.Step(strings.Repeat("ä", 200))
	c.p.Bytes(1, 2)
	c.run(3 * time.Second)
	for _, line := range strings.Split(c.out.String(), "\r\x1b[K") {
		if n := len([]rune(line)); n >= 60 {
			t.Errorf("%d columns of 60", n)
		}
	}
}

func TestSIBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_960: "1.0 MB", 1_100_000_000: "1.1 GB", 1 << 62: "4611686.0 TB"} {
		if got := siBytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestRanges(t *testing.T) {
	many := make([]int, 40)
	for i := range many {
		many[i] = 2 * i
	}
	tests := []struct {
		in   []int
		want string
	}{
		{nil, ""}, {[]int{3}, "3"}, {[]int{0, 1, 2, 5, 7, 8}, "0-2,5,7-8"},
		{many, "0,2,4,6,8,10,12,14,16,18,20,22,… 28 more"},
	}
	for _, tt := range tests {
		if got := ranges(tt.in); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestVersion(t *testing.T) {
	setting := func(k, v string) debug.BuildSetting { return debug.BuildSetting{Key: k, Value: v} }
	built := func(v string, s ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: v}, Settings: s}
	}
	tests := []struct {
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		{"v1.2.3", built("v9"), "v1.2.3"},
		{"", built("v0.4.0"), "v0.4.0"},
		{"", built("(devel)"), "devel"},
		{"", built(""), "devel"},
		{"", nil, "devel"},
		{"", built("(devel)", setting("vcs.revision", "0123456789abcdef"), setting("vcs.modified", "false")), "devel+0123456789ab"},
		{"", built("(devel)", setting("vcs.revision", "0123456789abcdef"), setting("vcs.modified", "true")), "devel+0123456789ab+changes"},
	}
	for _, tt := range tests {
		if got := resolveVersion(tt.linked, tt.info, tt.info != nil); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt, got, tt.want)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for v, want := range map[float64]string{1e10: "1e10", 1e9: "1e9", 0.001: "0.001", 1e-7: "1e-7", 2.5e-12: "2.5e-12", 300: "300"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{10 * time.Minute: "10m", 90 * time.Second: "1m30s", time.Hour: "1h", 5 * time.Second: "5s", 20 * time.Minute: "20m"} {
		if got := duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for v, want := range map[float64]string{0.01: "1%", 0.07: "7%", 1: "100%", 0.005: "0.5%", 1e-6: "0.0001%"} {
		if got := percent(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
