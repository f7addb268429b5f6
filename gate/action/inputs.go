package action

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sethvargo/go-githubactions"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/report/github"
)

// Mode is what the Action does.
type Mode string

const (
	ModeGate    Mode = "gate"    // run the engines, judge, report
	ModeRefresh Mode = "refresh" // the same, and store what was measured as the baseline
	ModeReport  Mode = "report"  // report results of another job or workflow
	ModeApprove Mode = "approve" // store what a comment or label of a pull request approves
)

// Inputs are what a workflow says with `with:`, validated. The token is none of
// them: it is read where it is used and stored nowhere.
type Inputs struct {
	Spec             string               `json:"spec"` // with slashes, relative to WorkingDirectory
	Mode             Mode                 `json:"mode"`
	Name             string               `json:"name"`
	Runtime          string               `json:"runtime"`
	Image            string               `json:"image"`
	GPUs             string               `json:"gpus"` // as docker takes it, "none", or "" for whatever the runner has
	DockerArgs       []string             `json:"docker_args"`
	Env              []string             `json:"env"` // "NAME=value", or "NAME" to pass it on
	Baseline         string               `json:"baseline"`
	Comment          github.CommentPolicy `json:"comment"`
	NewCommentOnFlip bool                 `json:"new_comment_on_flip"`
	Status           bool                 `json:"status"`
	CheckRun         bool                 `json:"check_run"`
	Issue            bool                 `json:"issue"`
	FailOn           string               `json:"fail_on"`
	Args             []string             `json:"args"`
	JudgeBy          string               `json:"judge_by"`
	ApproveSpec      string               `json:"approve_spec"` // "", "true" or a digest's first 12 digits or more
	AllowTarget      bool                 `json:"allow_pull_request_target"`
	Results          string               `json:"results"`
	Artifact         string               `json:"artifact"`
	WorkingDirectory string               `json:"working_directory"` // with slashes, relative to the workspace
}

// input is one input of action.yml.
type input struct {
	name string
	// fallback is what an empty value means; action.yml has the same default.
	fallback string
	read     func(*Inputs, string) error
}

// inputs are all inputs but binary, which install.sh reads, and token.
var inputs = []input{
	{"spec", "parity.yaml", localPath(func(i *Inputs) *string { return &i.Spec })},
	{"mode", "gate", oneOf(func(i *Inputs) *Mode { return &i.Mode }, ModeGate, ModeRefresh, ModeReport, ModeApprove)},
	{"name", "paritygate", name},
	{"runtime", "container", oneOf(func(i *Inputs) *string { return &i.Runtime }, "container", "host")},
	{"image", "", image},
	{"gpus", "", gpus},
	{"docker-args", "", dockerArgs},
	{"env", "", envLines},
	{"baseline", "", text(func(i *Inputs) *string { return &i.Baseline })},
	{"comment", "always", oneOf(func(i *Inputs) *github.CommentPolicy { return &i.Comment },
		github.CommentAlways, github.CommentOnChange, github.CommentNever)},
	{"new-comment-on-flip", "false", boolean(func(i *Inputs) *bool { return &i.NewCommentOnFlip })},
	{"status", "true", boolean(func(i *Inputs) *bool { return &i.Status })},
	{"check-run", "false", boolean(func(i *Inputs) *bool { return &i.CheckRun })},
	{"issue", "false", boolean(func(i *Inputs) *bool { return &i.Issue })},
	{"fail-on", "incomplete", oneOf(func(i *Inputs) *string { return &i.FailOn }, failOn...)},
	{"args", "", runArgs},
	{"judge-by", "base", oneOf(func(i *Inputs) *string { return &i.JudgeBy }, "base", "head")},
	{"approve-spec", "", approval},
	{"allow-pull-request-target", "false", boolean(func(i *Inputs) *bool { return &i.AllowTarget })},
	{"results", "", text(func(i *Inputs) *string { return &i.Results })},
	{"artifact", "", artifact},
	{"working-directory", ".", localPath(func(i *Inputs) *string { return &i.WorkingDirectory })},
}

// failOn are the values of the input fail-on.
var failOn = []string{"incomplete", "fail", "never"}

// getInput reads one input. A workflow's INPUT_FAIL-ON is written INPUT_FAIL_ON
// here, because a shell between the runner and this program may drop names with
// a hyphen.
func getInput(getenv func(string) string, name string) string {
	a := githubactions.New(githubactions.WithGetenv(func(k string) string {
		return getenv(strings.ReplaceAll(k, "-", "_"))
	}))
	return a.GetInput(name)
}

// readInputs reads and checks all inputs. The error holds every mistake, each
// with the input's name and what it takes.
func readInputs(getenv func(string) string) (*Inputs, error) {
	var in Inputs
	var errs []error
	for _, i := range inputs {
		v := getInput(getenv, i.name)
		if v == "" {
			v = i.fallback
		}
		if err := i.read(&in, v); err != nil {
			errs = append(errs, fmt.Errorf("input %s: %w", i.name, err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, in.together())
	}
	return &in, errors.Join(errs...)
}

// together checks what depends on more than one input.
func (in *Inputs) together() error {
	switch {
	case in.Mode == ModeReport && in.Results == "":
		return errors.New("input results: mode report needs the results.json, or the folder that holds it")
	case in.Mode == ModeApprove && in.Results == "":
		return errors.New("input results: mode approve needs the folder with the results.json and baseline.json of the pull request's run")
	case in.Mode != ModeReport && in.Mode != ModeApprove && in.Results != "":
		return fmt.Errorf("input results: only mode report and mode approve read one, and mode is %s", in.Mode)
	case in.Runtime == "host" && in.Image != "":
		return errors.New("input image: runtime host uses none; leave one of the two out")
	case in.Runtime == "host" && len(in.DockerArgs) > 0:
		return errors.New("input docker-args: runtime host runs no container; leave one of the two out")
	}
	return nil
}

func oneOf[T ~string](field func(*Inputs) *T, values ...T) func(*Inputs, string) error {
	return func(in *Inputs, v string) error {
		if !slices.Contains(values, T(v)) {
			words := make([]string, len(values))
			for i, w := range values {
				words[i] = string(w)
			}
			return fmt.Errorf("%q: want %s", v, orList(words))
		}
		*field(in) = T(v)
		return nil
	}
}

func boolean(field func(*Inputs) *bool) func(*Inputs, string) error {
	return func(in *Inputs, v string) error {
		if v != "true" && v != "false" {
			return fmt.Errorf("%q: want true or false", v)
		}
		*field(in) = v == "true"
		return nil
	}
}

// text takes one line.
func text(field func(*Inputs) *string) func(*Inputs, string) error {
	return func(in *Inputs, v string) error {
		if hasControl(v) {
			return fmt.Errorf("%q: want one line", v)
		}
		*field(in) = v
		return nil
	}
}

// localPath takes a path that stays below where it begins.
func localPath(field func(*Inputs) *string) func(*Inputs, string) error {
	return func(in *Inputs, v string) error {
		p := path.Clean(filepath.ToSlash(v))
		if hasControl(v) || !filepath.IsLocal(filepath.FromSlash(p)) {
			return fmt.Errorf("%q: want a path inside the workspace, as ci/parity.yaml", v)
		}
		*field(in) = p
		return nil
	}
}

// namePattern is what a comment's marker, a status's context and an artifact's
// name all take.
var namePattern = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} ._+=@,()-]{0,59}$`)

func name(in *Inputs, v string) error {
	if !namePattern.MatchString(v) {
		return fmt.Errorf("%q: want at most 60 letters, digits, spaces and . _ - + = @ , ( ), beginning with a letter or digit", v)
	}
	in.Name = v
	return nil
}

var imagePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}$`)

func image(in *Inputs, v string) error {
	if v != "" && !imagePattern.MatchString(v) {
		return fmt.Errorf("%q: want the name of an image, as ghcr.io/owner/name:tag", v)
	}
	in.Image = v
	return nil
}

var gpusPattern = regexp.MustCompile(`^(all|none|[0-9]{1,4}|device=[A-Za-z0-9][A-Za-z0-9,:._-]{0,254})$`)

func gpus(in *Inputs, v string) error {
	if v != "" && !gpusPattern.MatchString(v) {
		return fmt.Errorf("%q: want all, none, a number, or device=0,1; nothing means all where the runner has any", v)
	}
	in.GPUs = v
	return nil
}

// setByAction are the options of docker run that the Action gives itself, and
// what to use instead.
var setByAction = map[string]string{
	"--env": "the input env", "--env-file": "the input env", "--gpus": "the input gpus", "--workdir": "the input working-directory",
	"--user": "nothing: it is the runner's user", "--name": "nothing", "--entrypoint": "nothing", "--rm": "nothing", "--init": "nothing",
	"--detach": "nothing", "--tty": "nothing", "--interactive": "nothing", "--cidfile": "nothing", "--log-driver": "nothing",
	"--detach-keys": "nothing", "--sig-proxy": "nothing", "--attach": "nothing", "--label-file": "nothing",
}

func dockerArgs(in *Inputs, v string) error {
	for _, arg := range lines(v) {
		flag, _, _ := strings.Cut(arg, "=")
		if !strings.HasPrefix(arg, "--") || hasControl(arg) || arg == "--" {
			return fmt.Errorf("%q: want one long option a line, as --shm-size=8g", arg)
		}
		if instead, ok := setByAction[flag]; ok {
			return fmt.Errorf("%s: the Action sets it; use %s instead", flag, instead)
		}
		in.DockerArgs = append(in.DockerArgs, arg)
	}
	return nil
}

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)

func envLines(in *Inputs, v string) error {
	for _, line := range lines(v) {
		name, _, _ := strings.Cut(line, "=")
		switch {
		case !variablePattern.MatchString(name):
			return fmt.Errorf("%q: want NAME=VALUE, or NAME to pass a variable of the job on, one a line", line)
		case engine.SecretName(name):
			return fmt.Errorf("%s: is named like a secret, and engines run the change's own code: "+
				"what needs a secret, as a download, belongs into a step before this one", name)
		case strings.ContainsRune(line, 0):
			return fmt.Errorf("%s: the value holds a zero byte", name)
		}
		in.Env = append(in.Env, line)
	}
	return nil
}

// reservedArgs are the options of `paritygate run` that the Action gives itself.
var reservedArgs = []string{"--out", "-o", "--judge-by", "--approve-spec"}

func runArgs(in *Inputs, v string) error {
	for _, arg := range lines(v) {
		flag, _, _ := strings.Cut(arg, "=")
		if slices.Contains(reservedArgs, flag) || strings.HasPrefix(arg, "-o") {
			return fmt.Errorf("%s: the Action sets it", flag)
		}
		if strings.ContainsRune(arg, 0) {
			return fmt.Errorf("%q: holds a zero byte", arg)
		}
		in.Args = append(in.Args, arg)
	}
	return nil
}

var digestPattern = regexp.MustCompile(`^[0-9a-f]{12,64}$`)

func approval(in *Inputs, v string) error {
	v = strings.ToLower(v)
	if v == "false" {
		v = ""
	}
	if v != "" && v != "true" && !digestPattern.MatchString(v) {
		return fmt.Errorf("%q: want 12 hex digits or more of the spec's digest, as the report shows it, true, or nothing", v)
	}
	in.ApproveSpec = v
	return nil
}

// artifact takes a name that upload-artifact takes; "" is one made of the
// gate's name and the run's attempt.
func artifact(in *Inputs, v string) error {
	if strings.ContainsAny(v, `":<>|*?/\`) || hasControl(v) || len(v) > 200 {
		return fmt.Errorf("%q: want a name without \" : < > | * ? / \\, or none to upload nothing", v)
	}
	in.Artifact = v
	return nil
}

// lines are the lines of v that are not empty, without space around them.
func lines(v string) []string {
	var out []string
	for line := range strings.Lines(v) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
