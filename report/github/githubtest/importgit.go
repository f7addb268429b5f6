package githubtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// ImportGit takes over all objects of a repository on disk, and its branches and
// tags, so that commits have the same names here. An annotated tag is its commit.
func (r *Repo) ImportGit(dir string) error {
	refs, err := runGit(dir, nil, "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", "refs/heads", "refs/tags")
	if err != nil {
		return err
	}
	all, err := runGit(dir, nil, "cat-file", "--batch", "--batch-all-objects", "--unordered")
	if err != nil {
		return err
	}
	defer r.lock()()
	for in := bufio.NewReader(bytes.NewReader(all)); ; {
		head, err := in.ReadString('\n')
		if err == io.EOF {
			break
		}
		f := strings.Fields(head)
		if err != nil || len(f) != 3 {
			return fmt.Errorf("githubtest: git cat-file in %s: unexpected line %q", dir, head)
		}
		n, err := strconv.Atoi(f[2])
		if err != nil {
			return fmt.Errorf("githubtest: git cat-file in %s: unexpected line %q", dir, head)
		}
		data := make([]byte, n+1) // and a line's end
		if _, err := io.ReadFull(in, data); err != nil {
			return fmt.Errorf("githubtest: git cat-file in %s: %w", dir, err)
		}
		if sha := r.objects.put(f[1], data[:n]); sha != f[0] {
			return fmt.Errorf("githubtest: object %s of %s is %s here: only SHA-1 repositories are known", f[0], dir, sha)
		}
	}
	for line := range strings.Lines(string(refs)) {
		f := strings.Fields(line)
		r.move(f[0], f[len(f)-1])
	}
	return nil
}

// ExportGit writes the objects and the branches into a bare repository at dir,
// which git makes.
func (r *Repo) ExportGit(dir string) error {
	defer r.lock()()
	if _, err := runGit("", nil, "init", "--quiet", "--bare", "--initial-branch="+r.defaultBranch, dir); err != nil {
		return err
	}
	for sha, o := range r.objects {
		got, err := runGit(dir, o.data, "hash-object", "-w", "--stdin", "-t", o.kind)
		if err != nil {
			return err
		}
		if g := strings.TrimSpace(string(got)); g != sha {
			return fmt.Errorf("githubtest: object %s is %s to git", sha, g)
		}
	}
	for ref, sha := range r.refs {
		if _, err := runGit(dir, nil, "update-ref", ref, sha); err != nil {
			return err
		}
	}
	return nil
}

func runGit(dir string, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("githubtest: git %s in %q: %w: %s", args[0], dir, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
