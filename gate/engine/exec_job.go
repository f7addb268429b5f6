package engine

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate/spec"
)

// execJob is one prompt's run of a command.
type execJob struct {
	in         Input
	args, env  []string
	trace, out string
}

const adviceLong = "let the engine read {{out}}/tokens.json or {{out}}/prompt.txt instead of {{tokens}} or {{prompt}}"

// prepare expands the command and its environment for one prompt.
func (e *execEngine) prepare(in Input) (*execJob, error) {
	if in.Generate > 0 {
		return nil, e.fail(in, NotStarted, "generate: %d wants an engine that continues a prompt, which exec cannot ask for; "+
			"let a llamacpp reference generate, or give the continuation as tokens", in.Generate)
	}
	dir, err := filepath.Abs(in.Dir)
	if err != nil {
		return nil, e.fail(in, NotStarted, "%v", err)
	}
	in.Dir = dir
	if e.cfg.Model != "" {
		in.Model = e.cfg.Model
	}
	in.Model = absolute(in.Model)
	if err := e.missing(in); err != nil {
		return nil, err
	}
	j := &execJob{in: in, trace: filepath.Join(dir, "trace"), out: filepath.Join(dir, "out")}
	vars := map[string]string{"model": in.Model, "tokens": joinTokens(in.Tokens), "trace": j.trace, "prompt": in.Text, "out": j.out}
	for i, arg := range e.cfg.Command {
		s, err := spec.Expand(arg, vars)
		if err != nil {
			return nil, e.fail(in, NotStarted, "command: argument %d: %v", i, err)
		}
		if len(s) > maxArgument {
			return nil, e.fail(in, NotStarted, "argument %d is %d bytes long, Linux takes %d: %s", i, len(s), maxArgument, adviceLong)
		}
		j.args = append(j.args, s)
	}
	if j.env, err = Environment(e.o.environ(), e.cfg, vars); err != nil {
		return nil, e.fail(in, NotStarted, "%v", err)
	}
	for _, kv := range j.env {
		if len(kv) > maxArgument {
			name, _, _ := strings.Cut(kv, "=")
			return nil, e.fail(in, NotStarted, "variable %s is %d bytes long, Linux takes %d: %s", name, len(kv), maxArgument, adviceLong)
		}
	}
	return j, nil
}

// missing refuses a command that uses what is not known: an empty argument
// would make the engine run something else.
func (e *execEngine) missing(in Input) error {
	switch {
	case e.uses("tokens") && len(in.Tokens) == 0:
		return e.fail(in, NotStarted, "the command uses {{tokens}}, but the ids of prompt %q are not known: give them as tokens: in the prompt, "+
			"run a reference that tells them (llamacpp, or a trace with tokens), or use {{prompt}}", in.Name)
	case e.uses("prompt") && in.Text == "":
		return e.fail(in, NotStarted, "the command uses {{prompt}}, but prompt %q has no text: use {{tokens}}", in.Name)
	case e.uses("model") && in.Model == "":
		return e.fail(in, NotStarted, "the command uses {{model}}, but no model is named: set model: {path: …}")
	}
	return nil
}

// clean empties the run's folder and writes the input files into {{out}}.
func (j *execJob) clean() error {
	for _, p := range []string{j.trace, j.out} {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(j.out, 0o755); err != nil {
		return err
	}
	if len(j.in.Tokens) > 0 {
		b, err := json.Marshal(j.in.Tokens)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(j.out, "tokens.json"), b, 0o644); err != nil {
			return err
		}
	}
	if j.in.Text != "" {
		return os.WriteFile(filepath.Join(j.out, "prompt.txt"), []byte(j.in.Text), 0o644)
	}
	return nil
}

func joinTokens(ids []int32) string {
	var b []byte
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	return string(b)
}

// sizeOf is the size of a file or of the regular files below a folder; 0 where
// there is nothing.
func sizeOf(path string) int64 {
	var n int64
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if fi, err := d.Info(); err == nil {
				n += fi.Size()
			}
		}
		return nil // what vanishes meanwhile counts nothing
	})
	return n
}

// checkTrace looks at what lies at the trace's path before anything opens it:
// only regular files, since a link would lead out of the run's folder and
// opening a pipe would wait for ever. problem is "" when all is well.
func checkTrace(path string, max int64) (kind FailureKind, problem string) {
	var files int
	var bytes int64
	kind = BadTrace
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if !fi.Mode().IsRegular() {
			return fmt.Errorf("%s is %s: write a regular file", p, typeName(fi.Mode()))
		}
		if err := readable(p, fi); err != nil {
			return err
		}
		files, bytes = files+1, bytes+fi.Size()
		return nil
	})
	switch {
	case os.IsNotExist(err):
		return NoTrace, fmt.Sprintf("it ended well but wrote nothing to {{trace}}, %s", path)
	case err != nil:
		return kind, err.Error()
	case files == 0:
		return NoTrace, fmt.Sprintf("it ended well but left {{trace}}, %s, an empty folder", path)
	case bytes > max:
		return TooMuch, tooMuch(bytes, max)
	}
	return "", ""
}

func tooMuch(bytes, max int64) string {
	return fmt.Sprintf("its trace has %d bytes, over max_trace, %d", bytes, max)
}

// readable opens the file as the reader will, and makes sure that it is the
// one that was looked at.
func readable(path string, want fs.FileInfo) error {
	f, err := os.OpenFile(path, os.O_RDONLY|openSafely, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(fi, want) {
		return fmt.Errorf("%s was replaced while it was looked at", path)
	}
	return nil
}

func typeName(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "no file"
}

// found lists what the engine wrote instead of a trace.
func found(dir string) string {
	const most = 8
	var names []string
	more := 0
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		if err != nil || d.IsDir() || rel == filepath.Join("out", "tokens.json") || rel == filepath.Join("out", "prompt.txt") {
			return nil
		}
		if len(names) == most {
			more++
			return nil
		}
		size := ""
		if fi, err := d.Info(); err == nil && d.Type().IsRegular() {
			size = fmt.Sprintf(" (%d bytes)", fi.Size())
		}
		names = append(names, Sanitize(rel)+size)
		return nil
	})
	if len(names) == 0 {
		return "; nothing else was written there either"
	}
	s := "; the run's folder holds " + strings.Join(names, ", ")
	if more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
