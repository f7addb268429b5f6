package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/baseline/bisect"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

// bisectFlags are the flags of bisect.
type bisectFlags struct {
	spec       string
	checkpoint string
	metric     choice
	reset      bool
	keep       bool
}

func (a *app) bisectCommand() *cobra.Command {
	f := bisectFlags{spec: defaultSpec, metric: choice{value: "rel_l2"}}
	for _, i := range metric.All() {
		f.metric.of = append(f.metric.of, i.Name)
	}
	cmd := &cobra.Command{
		Use:   "bisect GOOD BAD",
		Short: "Find the commit that broke parity, or moved one checkpoint",
		Long: `Walks through the commits between GOOD and BAD, as git bisect does, in a worktree
of its own: each is built with the candidate's build command, run and judged,
until the first is found that is not as GOOD is. The checkout stays as it is.

The spec is the one of the checkout, for all commits; the candidate's paths are
those of the commit. No commit is held against a baseline. Without --checkpoint
one is bad when the gate fails. With it, when the metric there is nearer to BAD's
value than to GOOD's. Commits that do not build, or where nothing can be measured,
are skipped.

What was measured is kept until the end: an interrupted walk goes on where it
was. Exits 0 when one commit was found, 3 when skipped ones hide which it is.`,
		Example: `  paritygate bisect v1.4.0 main
  paritygate bisect 3f2a91c HEAD --checkpoint layer_7_output --metric added`,
		Args: exactArgs("GOOD", "BAD"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.bisect(cmd.Context(), args[0], args[1], &f) },
	}
	addSpecFlag(cmd, &f.spec, "the spec `FILE`")
	cmd.Flags().Lookup("spec").DefValue = defaultSpec
	f.spec = defaultSpec
	cmd.Flags().StringVar(&f.checkpoint, "checkpoint", "", "look for the commit that moved the checkpoint `NAME`, whatever is judged")
	cmd.Flags().Var(&f.metric, "metric", "of the checkpoint")
	completeChoice(cmd, "metric", f.metric.of)
	cmd.Flags().BoolVar(&f.reset, "reset", false, "forget what an interrupted walk measured")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "keep the worktree and what was measured at the end")
	return cmd
}

// walker measures commits for one walk.
type walker struct {
	a    *app
	f    *bisectFlags
	s    *spec.Spec // of the checkout
	data []byte     // the spec's bytes
	rel  string     // the spec's folder below the repository's root
	walk *bisect.Walk
	// between is the value that parts good from bad, with --checkpoint.
	between float64
	higher  bool // bad is above between
}

func (a *app) bisect(ctx context.Context, good, bad string, f *bisectFlags) error {
	w := &walker{a: a, f: f}
	dir, err := w.load()
	if err != nil {
		return err
	}
	question := fmt.Sprintf("spec %s checkpoint %q metric %s", w.s.Digest, f.checkpoint, f.metric.value)
	if w.walk, err = bisect.Start(ctx, dir, good, bad, question); err != nil {
		return err
	}
	if f.reset {
		if err := w.walk.Close(ctx); err != nil {
			return err
		}
		if w.walk, err = bisect.Start(ctx, dir, good, bad, question); err != nil {
			return err
		}
	}
	if n := len(w.walk.Steps()); n > 0 {
		fmt.Fprintf(a.Stderr, "going on with the walk that was interrupted: %d commits are measured\n", n)
	}
	if err := w.ends(ctx); err != nil {
		return err
	}
	found, err := w.walk.Run(ctx, w.measure)
	if err != nil {
		return err
	}
	if err := w.say(ctx, dir, found); err != nil {
		return err
	}
	if len(found.Commits) != 1 {
		a.code = exitIncomplete
	}
	if f.keep {
		return nil
	}
	return w.walk.Close(ctx)
}

// load reads the spec and finds its folder in the repository.
func (w *walker) load() (dir string, err error) {
	if w.s, err = loadSpec(w.f.spec); err != nil {
		return "", err
	}
	w.s = mayBeFirst(w.s) // commits are held against one another, not against a baseline
	if w.data, err = os.ReadFile(w.f.spec); err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(filepath.Dir(w.f.spec)); err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	cmd := exec.Command("git", "rev-parse", "--show-toplevel")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s is in no git repository: bisect walks through the commits of the one that holds the spec", w.f.spec)
	}
	w.rel, err = filepath.Rel(strings.TrimSpace(string(out)), dir)
	return dir, err
}

// ends measures GOOD and BAD: without a difference between them there is nothing
// to look for.
func (w *walker) ends(ctx context.Context) error {
	var results [2]*gate.Result
	for i, commit := range []string{w.walk.Good(), w.walk.Bad()} {
		r, why, err := w.run(ctx, commit)
		if err != nil {
			return err
		}
		if r == nil {
			return incomplete("%s, one end of the walk, cannot be measured: %s", commit[:12], why)
		}
		results[i] = r
	}
	good, bad := results[0], results[1]
	if w.f.checkpoint == "" {
		if good.Outcome == gate.Pass && bad.Outcome == gate.Fail {
			return nil
		}
		return incomplete("GOOD is %s and BAD is %s: without --checkpoint, the walk looks for the commit where pass became fail%s",
			good.Outcome, bad.Outcome, mostMoved(good, bad, w.f.metric.value))
	}
	x, okX := valueOf(good, w.f.checkpoint, w.f.metric.value)
	y, okY := valueOf(bad, w.f.checkpoint, w.f.metric.value)
	if !okX || !okY {
		return incomplete("%s of %s was not measured at both ends of the walk", w.f.metric.value, w.f.checkpoint)
	}
	if x == y {
		return incomplete("%s of %s is %.6g at both ends of the walk: it did not move%s", w.f.metric.value, w.f.checkpoint, x, mostMoved(good, bad, w.f.metric.value))
	}
	w.between, w.higher = between(x, y), y > x
	fmt.Fprintf(w.a.Stderr, "%s of %s is %.6g at GOOD and %.6g at BAD: a commit is bad beyond %.6g\n", w.f.metric.value, w.f.checkpoint, x, y, w.between)
	return nil
}

// measure is one step of the walk.
func (w *walker) measure(ctx context.Context, commit string) (bisect.Step, error) {
	r, why, err := w.run(ctx, commit)
	if err != nil {
		return bisect.Step{}, err
	}
	s := bisect.Step{Commit: commit, Verdict: bisect.Skip, Why: why}
	if r == nil {
		fmt.Fprintf(w.a.Stderr, "%s  skip  %s\n", commit[:12], why)
		return s, nil
	}
	isBad := r.Outcome == gate.Fail
	s.Value = r.Outcome.String()
	if w.f.checkpoint != "" {
		v, ok := valueOf(r, w.f.checkpoint, w.f.metric.value)
		if !ok {
			s.Why = "the checkpoint was not measured"
			return s, nil
		}
		s.Value, isBad = fmt.Sprintf("%s %.6g", w.f.metric.value, v), v > w.between == w.higher
	} else if r.Outcome == gate.Incomplete {
		s.Why = firstReason(r)
		return s, nil
	}
	s.Verdict, s.Why = bisect.Good, ""
	if isBad {
		s.Verdict = bisect.Bad
	}
	fmt.Fprintf(w.a.Stderr, "%s  %s  %s\n", commit[:12], s.Verdict, s.Value)
	return s, nil
}

// run builds a commit and runs the gate on it. Without a result, why says so.
func (w *walker) run(ctx context.Context, commit string) (r *gate.Result, why string, err error) {
	if err := w.walk.Checkout(ctx, commit); err != nil {
		return nil, "", err
	}
	there, err := spec.ParseIn(w.data, w.s.Path, filepath.Join(w.walk.Dir, w.rel))
	if err != nil {
		return nil, "", err
	}
	s := *w.s
	model := s.Engines.Candidate.Model
	s.Engines.Candidate = there.Engines.Candidate
	s.Engines.Candidate.Model = model // weights are no part of a commit
	if why, err := w.build(ctx, s.Engines.Candidate); err != nil || why != "" {
		return nil, why, err
	}
	p := w.a.newProgress()
	p.start()
	defer p.end()
	r, err = gate.Run(ctx, &s, gate.RunOptions{Getenv: w.a.Getenv, Status: p.Step, Options: gate.Options{Progress: p.Bytes, Version: currentVersion()}})
	if err != nil && ctx.Err() == nil {
		return nil, err.Error(), nil
	}
	return r, "", err
}

// buildOutput is how much of a failed build's output is shown, in bytes.
const buildOutput = 2000

func (w *walker) build(ctx context.Context, c spec.Engine) (why string, err error) {
	if len(c.Build) == 0 {
		return "", nil
	}
	env, err := engine.Environment(os.Environ(), c, map[string]string{})
	if err != nil {
		return "", err
	}
	res, err := engine.Process{Args: c.Build, Dir: filepath.Join(w.walk.Dir, w.rel), Env: env, MaxOutput: buildOutput}.Run(ctx)
	switch {
	case err != nil:
		return "the build does not start: " + err.Error(), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case !res.OK():
		lines := strings.Split(engine.Sanitize(strings.TrimSpace(res.Stderr.String())), "\n")
		return fmt.Sprintf("the build fails (exit code %d): %s", res.ExitCode, lines[len(lines)-1]), nil
	}
	return "", nil
}

// say prints what was found, and every commit that was measured.
func (w *walker) say(ctx context.Context, dir string, found *bisect.Found) error {
	var b strings.Builder
	what := "the first commit that fails"
	if w.f.checkpoint != "" {
		what = fmt.Sprintf("the first commit where %s of %s moved", w.f.metric.value, w.f.checkpoint)
	}
	if len(found.Commits) == 1 {
		fmt.Fprintf(&b, "%s is %s\n\n", found.Commits[0], what)
	} else {
		fmt.Fprintf(&b, "one of %d commits is %s; the others could not be measured\n\n", len(found.Commits), what)
	}
	for _, c := range found.Commits {
		cmd := exec.CommandContext(ctx, "git", "log", "-1", "--format=%h  %an  %cs  %s", c)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("git log %s: %w", c, err)
		}
		fmt.Fprintf(&b, "  %s", out)
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "commit\tverdict\tmeasured")
	for _, s := range w.walk.Steps() {
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Commit[:12], s.Verdict, s.Value+s.Why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return w.a.write([]byte(b.String()))
}
