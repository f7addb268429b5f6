package e2e

import (
	"archive/zip"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/report/github/githubtest"
)

// want is what a gate must leave behind.
type want struct {
	outcome   string   // of the gate
	code      string   // of the gate, the output exit-code
	jobFails  bool     // and so the pull request is blocked
	status    string   // of the head commit's commit status
	comments  []string // what the pull request's one comment says; nil: there is none
	summary   []string
	log       []string
	not       []string // in neither comment, summary nor log
	artifact  string   // name, default paritygate-1
	noReports bool     // the gate never got so far
}

// check holds a run to what is wanted, and to what always holds.
func (r *ran) check(x want) {
	t := r.t
	t.Helper()
	if got := r.outputs["outcome"]; got != x.outcome {
		t.Errorf("outcome %q, want %q", got, x.outcome)
	}
	if got := r.outputs["exit-code"]; got != x.code {
		t.Errorf("exit-code %q, want %q", got, x.code)
	}
	if failed := r.code != 0; failed != x.jobFails || (r.outcome == "failure") != x.jobFails {
		t.Errorf("act ended with %d and the step with %q, want a failure: %v", r.code, r.outcome, x.jobFails)
	}
	comment := ""
	switch all := r.w.repo.Comments(r.w.number); {
	case x.comments == nil && len(all) > 0:
		t.Errorf("%d comments, want none", len(all))
	case x.comments != nil && len(all) != 1:
		t.Errorf("%d comments, want one", len(all))
	case len(all) == 1:
		comment = all[0].Body
		if url := r.outputs["comment-url"]; !strings.HasSuffix(url, fmt.Sprintf("/pull/%d#issuecomment-%d", r.w.number, all[0].ID)) {
			t.Errorf("comment-url %q is not comment %d's", url, all[0].ID)
		}
	}
	status := ""
	if all := r.w.repo.Statuses(r.w.head); len(all) > 0 {
		status = all[len(all)-1].State
	}
	if status != x.status {
		t.Errorf("commit status %q, want %q", status, x.status)
	}
	for text, parts := range map[string][]string{comment: x.comments, r.summary: x.summary, r.log: x.log} {
		for _, part := range parts {
			if !strings.Contains(unwrap(text), part) {
				t.Errorf("%q is not in:\n%s", part, text)
			}
		}
		for _, part := range x.not {
			if strings.Contains(text, part) {
				t.Errorf("%q is in:\n%s", part, text)
			}
		}
	}
	r.clean()
	if !x.noReports {
		r.reports(x.outcome, cmp.Or(x.artifact, "paritygate-1"))
	}
}

var containerName = regexp.MustCompile(`--name (paritygate-[a-z0-9]+) `)

// clean: nothing of another user is left, no container, and no secret anywhere.
func (r *ran) clean() {
	t := r.t
	t.Helper()
	if foreign := readText(t, filepath.Join(r.out, "foreign")); foreign != "" {
		t.Errorf("not the runner's user's:\n%s", foreign)
	}
	if n := wantOwned(t, r.w.dir); n < 20 {
		t.Errorf("only %d files were looked at", n)
	}
	for _, m := range containerName.FindAllStringSubmatch(r.log, -1) {
		if left := docker(t, "ps", "--all", "--quiet", "--filter", "name=^/"+m[1]+"$"); left != "" {
			t.Errorf("container %s is left", m[1])
		}
	}
	// look.sh runs beside the Action and has the job's own secret.
	given := []string{filepath.Join(r.w.dir, "workflow.yml"), filepath.Join(r.out, "environment")}
	r.noSecret("the log", r.log)
	r.noSecret("the summary", r.summary)
	err := filepath.WalkDir(r.w.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !slices.Contains(given, path) {
			r.noSecret(path, readText(t, path))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, c := range r.w.repo.Comments(r.w.number) {
		r.noSecret("the comment", c.Body)
	}
}

func (r *ran) noSecret(where, text string) {
	r.t.Helper()
	for _, secret := range []string{canary, forkCanary, deployCanary, "ACTIONS_RUNTIME_TOKEN=ey"} {
		if strings.Contains(text, secret) {
			r.t.Errorf("%s holds %s", where, secret)
		}
	}
}

// reports: the artifact holds exactly the reports of the folder that the
// outputs name, and results.json says what the outputs say.
func (r *ran) reports(outcome, artifact string) {
	t := r.t
	t.Helper()
	res := r.result()
	if res.Outcome.String() != outcome {
		t.Errorf("results.json says %s", res.Outcome)
	}
	if s := res.Source; s == nil || s.Repository != repoName || s.Head != r.w.head {
		t.Errorf("the results are of %+v, want %s", res.Source, r.w.head)
	}
	found, err := filepath.Glob(filepath.Join(r.w.dir, "artifacts", fmt.Sprint(r.run), "*", "*.zip"))
	if err != nil || len(found) != 1 || filepath.Base(found[0]) != artifact+".zip" {
		t.Fatalf("artifacts %q, %v", found, err)
	}
	z, err := zip.OpenReader(found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != readText(t, filepath.Join(r.out, "reports", f.Name)) {
			t.Errorf("%s of the artifact is not the report", f.Name)
		}
		r.noSecret(f.Name+" of the artifact", string(got))
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"comment.md", "junit.xml", "report.txt", "results.json"}) {
		t.Errorf("the artifact holds %q", names)
	}
}

// trace is a demonstration's trace.
func trace(t *testing.T, name string) string {
	t.Helper()
	stock(t)
	return readText(t, filepath.Join(shared, name))
}

// A pull request is gated in the Action's own image; when its engine goes wrong
// it is blocked, in an image of the user's; when that is mended, the one comment
// says so.
func TestActPullRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.run(job{event: "pull_request", with: "check-run: true"}).check(want{outcome: "pass", code: "0", status: "success",
		comments: []string{"Parity passes", "all 7 checkpoints", w.head[:12]}, summary: []string{"Parity passes", "set the commit status"},
		log: []string{"the spec of the base branch judges", "--cap-drop=ALL", "outcome pass"}})
	if runs := w.repo.CheckRuns(w.head); len(runs) != 1 || runs[0].Conclusion != "success" {
		t.Errorf("check runs %+v", runs)
	}

	w.push(files{"candidate.safetensors": trace(t, ropeTrace)})
	r := w.run(job{event: "pull_request", with: "image: " + baseImage, run: runID + 1})
	r.check(want{outcome: "fail", code: "1", jobFails: true, status: "failure",
		comments: []string{"layer_0_output", w.head[:12]}, summary: []string{"layer_0_output"}, log: []string{"target=/opt/paritygate/paritygate,readonly", "exit code 1"}})
	if at := r.outputs["first-divergence"]; !strings.HasPrefix(at, "layer_0_output at position ") {
		t.Errorf("first-divergence %q", at)
	}
	if r.outputs["worst-checkpoint"] == "" {
		t.Error("no worst-checkpoint")
	}

	w.push(files{"candidate.safetensors": trace(t, soundTrace)})
	w.run(job{event: "pull_request", run: runID + 2}).check(want{outcome: "pass", code: "0", status: "success",
		comments: []string{"Parity passes", w.head[:12]}, summary: []string{"Parity passes"}})
}

// Without a pull request there is no comment, and without Docker the host will do.
func TestActOtherEvents(t *testing.T) {
	t.Parallel()
	for _, event := range []string{"merge_group", "schedule"} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.run(job{event: event, with: "runtime: host", env: "DOCKER_HOST: unix:///nowhere/docker.sock"}).check(want{outcome: "pass", code: "0", status: "success",
				summary: []string{"Parity passes"}, log: []string{"runtime host took"}})
		})
	}
}

// What cannot be measured has not passed, and says why.
func TestActIncomplete(t *testing.T) {
	t.Parallel()
	const crash = "echo 'CUDA error: an illegal memory access' >&2\nkill -SEGV $$\n"
	tests := []struct {
		name   string
		change files
		job    job
		want   want
	}{
		{"crash in a container", files{"engine.sh": crash}, job{with: "runtime: container"},
			want{outcome: "incomplete", code: "3", jobFails: true, status: "error",
				comments: []string{"SIGSEGV", "illegal memory access"}, summary: []string{"SIGSEGV"}}},
		{"crash on the host", files{"engine.sh": crash}, job{with: "runtime: host"},
			want{outcome: "incomplete", code: "3", jobFails: true, status: "error", comments: []string{"SIGSEGV"}, summary: []string{"SIGSEGV"}}},
		{"crash that may not block", files{"engine.sh": crash}, job{with: "runtime: host\nfail-on: fail"},
			want{outcome: "incomplete", code: "3", status: "error", comments: []string{"SIGSEGV"}, summary: []string{"SIGSEGV"}}},
		{"no Docker", nil, job{with: "runtime: container", env: "DOCKER_HOST: unix:///nowhere/docker.sock"},
			want{outcome: "incomplete", code: "3", jobFails: true, status: "error",
				comments: []string{"Docker daemon cannot be reached", "runtime: host needs none"}, summary: []string{"Docker daemon cannot be reached"}}},
		{"no such image", nil, job{with: "image: paritygate-test/missing:latest"},
			want{outcome: "incomplete", code: "3", jobFails: true, status: "error",
				comments: []string{"docker could not run the container"}, summary: []string{"paritygate-test/missing"}}},
		{"spec that is not valid", files{"parity.yaml": "version: 1\nengine: {}\n"}, job{with: "runtime: container"},
			want{outcome: "incomplete", code: "2", jobFails: true, status: "error",
				comments: []string{"parity.yaml:2:1", "engines"}, summary: []string{"parity.yaml:2:1"}}},
		{"input that is not valid", nil, job{with: "runtime: podman"},
			want{outcome: "incomplete", code: "2", jobFails: true, log: []string{`input runtime: "podman": want container or host`}, noReports: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.change)
			tt.job.event = "pull_request"
			w.run(tt.job).check(tt.want)
		})
	}
}

// The form for forks: the gate runs with a token that may only read, and a
// second workflow, of the default branch, publishes what it measured.
func TestActFork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.fork()
	first := w.run(job{event: "pull_request", token: forkCanary})
	first.check(want{outcome: "pass", code: "0", summary: []string{"Parity passes", "may only read"}})

	w.repo.AddRun(githubtest.Run{ID: runID, Event: "pull_request", HeadRepo: w.headRepo, HeadBranch: "feature", HeadSHA: w.head})
	results := w.keep("results.json", first)
	second := job{event: "workflow_run", with: "mode: report\nresults: " + results, run: runID + 1}
	w.run(second).check(want{outcome: "pass", code: "0", status: "success", artifact: "paritygate-report-1", comments: []string{"Parity passes", w.head[:12]}, summary: []string{"Parity passes"}})

	// Results that claim to be another pull request's are published nowhere.
	other := w.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "other"}).Number
	forged := strings.Replace(readText(t, results), fmt.Sprintf(`"pull_request": %d`, w.number), fmt.Sprintf(`"pull_request": %d`, other), 1)
	if forged == readText(t, results) {
		t.Fatal("the results name no pull request")
	}
	second.with = "mode: report\nresults: " + w.write("forged.json", forged)
	second.run++
	w.run(second).check(want{outcome: "incomplete", code: "3", jobFails: true, status: "error", artifact: "paritygate-report-1",
		comments: []string{"results are refused"}, summary: []string{"results are refused"}})
	if got := w.repo.Comments(other); len(got) > 0 {
		t.Errorf("the forger reached pull request %d: %+v", other, got)
	}
}
